"""Run by a framework's own interpreter: all that is asked of one row, in one process, which imports it once.

python row_facts.py FRAMEWORK OPTIONS FOLDER [DATA], with PYTHONPATH set to the folder that holds `workers` and `tests`.
Does each job of FOLDER, a folder with job.json each, in the order of their names, then what adapter_facts.py asks;
the facts are in FOLDER/facts.json, exit codes of the jobs in FOLDER/codes.json.
"""

import json
import sys
from pathlib import Path

from tests.contract import adapter_facts
from workers import run


def main(framework, options, folder, data=None):
    codes = {}
    for job in sorted(path.parent for path in folder.glob("*/job.json")):
        adapter_facts.forget_compiled()
        codes[job.name] = run.main([str(job), *([data] if data else [])])
    (folder / "codes.json").write_text(json.dumps(codes))
    (folder / "facts.json").write_text(json.dumps(adapter_facts.facts_of(framework, options)))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3]).resolve(), *sys.argv[4:5])
