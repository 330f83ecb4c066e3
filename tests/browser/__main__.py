"""Pictures of what ``make demo`` left, in Airflow's own pages: ``python -m tests.browser [DIRECTORY]``.

Needs a Chromium on the machine (Debian: ``apt install chromium``).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import BrowserType, Page, ViewportSize, sync_playwright

from tests.system.demo import PORT
from tests.system.server import REPO, AirflowServer

DAG = "automl_experiment"
VIEW: ViewportSize = {"width": 1500, "height": 900}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def settle(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)


def open_report(page: Page, task_url: str, picture: Path) -> None:
    """Click a task instance's link *Notebook*, as a user does, and take a picture of what opens.

    :raises SystemExit: it does not open, or its page complains or asks for anything.
    """
    page.goto(task_url)
    settle(page)
    page.get_by_role("link", name="Notebook").click()
    page.wait_for_url("**/automl/reports/**")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: said.append(request.url))
    page.reload()
    settle(page)
    if page.locator("h2").count() < 5 or page.locator("svg").count() == 0 or said != [page.url]:
        sys.exit(f"The report at {page.url} is not whole, or says: {said}")
    page.screenshot(path=picture)


def offline(chromium: BrowserType, executable: str, reports: list[Path]) -> None:
    """Open reports from the disk, without a network.

    :raises SystemExit: one complains, asks for anything, or lacks a section.
    """
    browser = chromium.launch(executable_path=executable, args=FLAGS)
    context = browser.new_context(offline=True)
    for path in reports:
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message, said=said: said.append(message.text))
        page.on("request", lambda request, said=said: said.append(request.url))
        page.on("pageerror", lambda error, said=said: said.append(str(error)))
        page.goto(path.as_uri())
        headings = page.locator("h2").all_inner_texts()
        wanted = 9 if path.stem == "train" else 5
        if len(headings) != wanted or said != [path.as_uri()]:
            sys.exit(f"{path} has the sections {headings} and says {said}")
        print(f"offline, without a complaint or a request: {path.parent.name}/{path.name}, {', '.join(headings)}")
        page.close()
    browser.close()


def main() -> None:
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else REPO / "docs" / "images")
    directory.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("No Chromium was found: install one (Debian: apt install chromium).")
    home = REPO / ".demo"
    if not (home / "airflow.db").exists():
        sys.exit(f"{home} holds no Airflow: run `make demo` first.")
    server = AirflowServer(home, REPO / "dags", port=PORT)
    server.start()
    try:
        runs = server.get(f"/api/v2/dags/{DAG}/dagRuns?order_by=-run_after")["dag_runs"]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            page = browser.new_page(viewport=VIEW)
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
            for task in ("train", "predict"):
                picture = directory / f"report-{task}.png"
                open_report(
                    browser.new_page(viewport=VIEW),
                    f"{server.url}/dags/{DAG}/runs/{runs[0]['dag_run_id']}/tasks/{task}/details",
                    picture,
                )
                print(picture)
            browser.close()
            reports = sorted((home / "automl" / "models").rglob("*.html"), key=lambda path: path.stat().st_mtime)
            offline(playwright.chromium, chromium, reports[-4:])  # of the demo's two runs
    finally:
        server.stop()


if __name__ == "__main__":
    main()
