"""The device side: Python 3.10, numpy, OpenCV, Arrow and a runtime; no torch, Prefect or MLflow."""
