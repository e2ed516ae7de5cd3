"""The mount table says which roots are polled."""

from pathlib import Path

import pytest

from enrich import mounts
from enrich.mounts import without_events


def table(*mounted: tuple[str, str]) -> str:
    """Return a mountinfo with (mount point, type), as proc(5) shows it."""
    lines = ["21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"]
    for number, (point, kind) in enumerate(mounted, 22):
        # Optional fields: none, one, or several.
        optional = ("", "shared:2 ", "shared:3 master:1 ")[number % 3]
        lines.append(f"{number} 21 0:{number} / {point} rw,nosuid {optional}- {kind} source:/x rw,a=b")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("kind", "is_remote"),
    [
        *((kind, True) for kind in ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse", "fuse.sshfs")),
        *((kind, True) for kind in ("virtiofs", "vboxsf", "fuse.rclone", "lustre", "fuse.glusterfs")),
        *((kind, False) for kind in ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "fuseblk", "zfs", "nfsd")),
    ],
)
def test_file_systems_that_others_change(kind: str, is_remote: bool) -> None:
    assert without_events(Path("/media/share/inbox"), table(("/media/share", kind))) == (
        kind if is_remote else None
    )


def test_the_innermost_mount_counts() -> None:
    mounted = table(("/media", "nfs4"), ("/media/local", "ext4"), ("/media/locally", "cifs"))
    assert without_events(Path("/media/x"), mounted) == "nfs4"
    assert without_events(Path("/media/local/x"), mounted) is None
    assert without_events(Path("/media/local"), mounted) is None
    assert without_events(Path("/media/locally/x"), mounted) == "cifs"
    assert without_events(Path("/mediation"), mounted) is None


def test_of_mounts_at_one_place_the_last_covers_the_others() -> None:
    assert without_events(Path("/media/x"), table(("/media", "nfs"), ("/media", "ext4"))) is None
    assert without_events(Path("/media/x"), table(("/media", "ext4"), ("/media", "nfs"))) == "nfs"


def test_a_share_below_the_root_counts_too() -> None:
    mounted = table(("/media/inbox/share", "cifs"), ("/elsewhere", "nfs"))
    assert without_events(Path("/media/inbox"), mounted) == "cifs"
    assert without_events(Path("/media/other"), mounted) is None


def test_the_first_folder_of_all() -> None:
    assert without_events(Path("/"), table()) is None
    assert without_events(Path("/"), table(("/media", "nfs"))) == "nfs"
    assert without_events(Path("/x"), "1 0 0:1 / / rw - nfs server:/ rw\n") == "nfs"


def test_odd_characters_of_a_mount_point() -> None:
    mounted = table((r"/media/my\040share\134\011", "nfs"))
    assert without_events(Path("/media/my share\\\t/x"), mounted) == "nfs"
    assert without_events(Path("/media/my"), mounted) is None


def test_a_link_is_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert without_events(tmp_path / "link" / "x", table((str(tmp_path / "real"), "nfs"))) == "nfs"


def test_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_events(tmp_path)  # its own table can be read, whatever it says
    (tmp_path / "mountinfo").write_bytes(
        table((f"{tmp_path}/\udcff", "nfs")).encode(errors="surrogateescape")
    )
    monkeypatch.setattr(mounts, "TABLE", tmp_path / "mountinfo")
    assert without_events(tmp_path) == "nfs"
    monkeypatch.setattr(mounts, "TABLE", tmp_path / "none")
    assert without_events(tmp_path) is None
