"""Do one job: python -m workers.run JOB_FOLDER [DATA_FOLDER]. See workers/protocol.py."""

import sys

from workers import jobs, process, protocol


def main(arguments):
    """The exit code of one job. arguments: the job's folder and, if it reads pictures, that of the prepared data."""
    if len(arguments) not in (1, 2):
        sys.stderr.write("usage: python -m workers.run JOB_FOLDER [DATA_FOLDER]\n")
        return protocol.BAD_JOB
    return process.main(arguments[0], arguments[1] if len(arguments) == 2 else None, work)


def work(job):
    """Do what the job's kind asks. job: Job."""
    kind = jobs.module(job.kind)
    protocol.require_fields(job.payload, kind.PAYLOAD, "job.json: payload")
    kind.work(job)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
