"""What is said about how numbers were made."""

import subprocess

from mmseg_uda import protocol


def test_the_revision_is_that_of_the_checkout_alone(tmp_path, monkeypatch):
    """An environment may lie within the repository of something else."""
    package = tmp_path / "env/mmseg_uda"
    package.mkdir(parents=True)
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        name = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(tmp_path), *name, *command], check=True)
    software = protocol.software.__wrapped__
    for root, told in ((tmp_path, True), (package, False)):
        monkeypatch.setattr(protocol, "ROOT", root)
        assert ("git revision" in software()) is told
