"""Pictures of what ``make demo`` left, in Airflow's own pages: ``python -m tests.browser [DIRECTORY]``.

Needs a Chromium on the machine (Debian: ``apt install chromium``).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.system.server import REPO, AirflowServer

DAG = "automl_experiment"


def settle(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)


def main() -> None:
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else REPO / "docs" / "images")
    directory.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("No Chromium was found: install one (Debian: apt install chromium).")
    home = REPO / ".demo"
    if not (home / "airflow.db").exists():
        sys.exit(f"{home} holds no Airflow: run `make demo` first.")
    server = AirflowServer(home, REPO / "dags")
    server.start()
    try:
        runs = server.get(f"/api/v2/dags/{DAG}/dagRuns?order_by=-run_after")["dag_runs"]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
            )
            page = browser.new_page(viewport={"width": 1500, "height": 900})
            for name, path in {
                "dag-run": f"/dags/{DAG}/runs/{runs[0]['dag_run_id']}",
                "trigger-form": f"/dags/{DAG}?trigger=1",
                "connection-form": "/connections",
            }.items():
                page.goto(server.url + path)
                settle(page)
                if name == "trigger-form":
                    page.get_by_role("button", name="Trigger").first.click()
                    settle(page)
                    if not page.get_by_role("button", name="Trigger").last.is_enabled():
                        sys.exit("The trigger form cannot be sent as it is.")
                if name == "connection-form":
                    page.get_by_role("button", name="Add Connection").first.click()
                    settle(page)
                    page.get_by_role("combobox").last.click()
                    page.keyboard.type("AutoML")
                    page.keyboard.press("Enter")
                    page.get_by_text("Extra Fields", exact=True).click()
                    settle(page)
                page.screenshot(path=directory / f"{name}.png")
                print(directory / f"{name}.png")
            browser.close()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
