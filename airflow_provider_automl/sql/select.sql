SELECT "{columns}" FROM "{source}" WHERE :condition
