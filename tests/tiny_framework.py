"""The text of a tiny framework that is only a Python: a row for each engine, made in a second."""

import sys

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
BASE = f"python:{PYTHON}-slim-bookworm"
TABLE = f"""
default = "0"
["0".cpu]
stage = "cpu"
python = "{PYTHON}"
requirements = "none.txt"
disk_mb = 100
env = {{ CORES = "{{physical_cores}}" }}
"""
DOCKERFILE = """
ARG PYTHON
FROM python:${PYTHON}-slim-bookworm AS cpu
ARG REQUIREMENTS
COPY requirements/${REQUIREMENTS} /requirements.txt
USER 65532:65532
ENTRYPOINT ["python"]
"""
