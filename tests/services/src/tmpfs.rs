//! A small file system, to be filled or made read-only.

use std::ffi::CString;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

/// A small file system in memory. It is unmounted when this is dropped.
#[derive(Debug)]
pub struct Tmpfs {
    dir: tempfile::TempDir,
}

impl Tmpfs {
    /// Mounts one that holds this many bytes.
    pub fn mount(bytes: u64) -> Tmpfs {
        let dir = tempfile::tempdir().unwrap();
        let options = CString::new(format!("size={bytes}")).unwrap();
        mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), Some(options.as_c_str())).unwrap();
        Tmpfs { dir }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// From now on nothing can be written.
    pub fn make_read_only(&self) {
        mount_remount(self.dir.path(), MountFlags::RDONLY, c"").unwrap();
    }

    /// Takes `make_read_only` back.
    pub fn make_writable(&self) {
        mount_remount(self.dir.path(), MountFlags::empty(), c"").unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Detached, because a test that fails may have files open.
        let _ = unmount(self.dir.path(), UnmountFlags::DETACH);
    }
}
