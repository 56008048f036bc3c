"""How a training tells its outcome: files in the job's result folder, so that any process may have written them."""

from __future__ import annotations

import json

from nightmill.errors import NightmillError, WorkFailed
from nightmill.lake.files import Folder
from nightmill.train import failure
from nightmill.train.checkpoint import fingerprint
from nightmill.train.failure import MOST_ATTEMPTS
from nightmill.train.job import SearchJob, Trained, TrainJob, describe
from nightmill.train.search import Searched
from nightmill.train.start import model_at

DONE, FAILED, PROGRESS, ATTEMPTS = "trained.json", "failed.json", "progress.jsonl", "attempts.json"


class Results:
    """The result folder of one job."""

    def __init__(self, job: TrainJob) -> None:
        self.job = job
        self.folder = Folder(job.result, job.storage_options)
        self._lines: list[str] = []
        self._shown = 0

    def clear(self) -> None:
        """Forgets what an earlier call left."""
        for name in (DONE, FAILED, PROGRESS, ATTEMPTS):
            self.folder.delete(name)

    def begin(self) -> bool:
        """Counts an attempt; False where the job has its outcome already, or has just been given up."""
        if self.outcome(read=False) is not None:
            return False
        stands = "".join(fingerprint(path, self.job.storage_options) for path in self.job.checkpoints)
        before = json.loads(self.folder.get(ATTEMPTS) or "{}")
        attempts = before.get("count", 0) + 1 if before.get("stands") == stands else 1
        if attempts > MOST_ATTEMPTS:
            what = f"the workers were lost {MOST_ATTEMPTS} times at the same place of training"
            fix = "look at memory; lower train.batch or train.workers, raise train.accumulate"
            self.fail(WorkFailed(what, where=self.job.use_case.name, fix=fix))
            return False
        self.folder.put(ATTEMPTS, json.dumps({"count": attempts, "stands": stands}).encode())
        kept = self.folder.get(PROGRESS)
        self._lines = kept.decode().splitlines() if kept else []
        return True

    def remove(self) -> None:
        """Removes all that the job left, its checkpoints too: once its model lies elsewhere."""
        self.folder.remove()
        for path in self.job.checkpoints:
            folder, name = Folder.of(path, self.job.storage_options)
            folder.delete(name)

    def progress(self, line: dict[str, float]) -> None:
        """Adds one epoch's line."""
        self._lines.append(json.dumps(line))
        self.folder.put(PROGRESS, "\n".join(self._lines).encode())

    def news(self) -> list[dict[str, float]]:
        """Lines added since the last call, by whatever process."""
        lines = (self.folder.get(PROGRESS) or b"").decode().splitlines()
        fresh, self._shown = lines[self._shown :], len(lines)
        return [json.loads(line) for line in fresh]

    def finish(self, found: Trained | Searched) -> None:
        """Writes a model's files, and last the one that says that all is there."""
        if isinstance(found, Searched):
            self.folder.put(DONE, json.dumps(found.to_json()).encode())
            return
        for name, content in found.bundle.to_files().items():
            self.folder.put(name, content)
        self.folder.put(DONE, json.dumps(describe(found)).encode())

    def fail(self, error: BaseException) -> None:
        """Writes why there is no model."""
        self.folder.put(FAILED, json.dumps(failure.to_json(error)).encode())

    def outcome(self, read: bool = True) -> Trained | Searched | NightmillError | bool | None:
        """What was finished, or its error, None while there is neither; without `read` just True for either."""
        failed, done = self.folder.get(FAILED), self.folder.get(DONE)
        if failed is None and done is None:
            return None
        if not read:
            return True
        if failed is not None:
            return failure.from_json(json.loads(failed))
        facts = json.loads(done or b"{}")
        if isinstance(self.job, SearchJob):
            return Searched.from_json(facts)
        return Trained(bundle=model_at(self.job.result, self.job.storage_options), **facts)
