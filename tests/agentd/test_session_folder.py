"""What is in a session's folder for weeks."""

from pathlib import Path

from relay_agentd.session_folder import last_words, size_of, trim_log


def test_log_that_grew_large_starts_again_and_keeps_what_it_said_last(tmp_path: Path) -> None:
    log = tmp_path / "host.log"
    with log.open("ab") as writer:
        writer.write(b"x" * 2_000_000 + b"\nthe end of the first\n")
        writer.flush()
        before = size_of(log)

        trim_log(log)
        writer.write(b"and on\n")
        writer.flush()

        assert log.read_text() == "and on\n"
        assert (tmp_path / "host.log.1").read_text().endswith("the end of the first\n")
        assert size_of(tmp_path / "host.log.1") <= 1024 * 1024
        # Said since: a log that was trimmed meanwhile begins anew.
        assert last_words(log, since=before) == ": and on"


def test_small_log_stays_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "host.log"
    log.write_text("little\n")

    trim_log(log)

    assert [each.name for each in tmp_path.iterdir()] == ["host.log"]
    assert log.read_text() == "little\n"
