//! How much memory the control group of this process allows.

use std::fs;
use std::path::{Path, PathBuf};

/// What a node needs beside the memory of instances: itself, and the code of its modules.
const OF_THE_NODE: u64 = 64 << 20;

/// Without a limit, version 1 shows the largest multiple of a page.
const UNLIMITED: u64 = 1 << 60;

/// The linear memory that all instances may have together, so that the process stays within the
/// limit of its control group: three quarters of what the node itself leaves. The rest is for
/// stacks, and for what requests hold. `None` where there is no limit.
pub fn instance_memory() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = lowest(Path::new("/sys/fs/cgroup"), &groups)?;
    Some(share(limit))
}

fn share(limit: u64) -> usize {
    // Of a limit so low that nothing would be left, instances get a part all the same.
    let left = limit.saturating_sub(OF_THE_NODE).max(limit / 4);
    usize::try_from(left / 4 * 3).unwrap_or(usize::MAX)
}

/// The lowest limit of the group and of those above it. `groups` is the text of
/// `/proc/self/cgroup`. In a container its paths may be those of the machine, which are not there:
/// then the root of `mount` is the group.
fn lowest(mount: &Path, groups: &str) -> Option<u64> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (root, file) = match controllers {
            "" => (mount.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                (mount.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        limits.extend(above(&root, path).iter().filter_map(|group| {
            let text = fs::read_to_string(group.join(file)).ok()?;
            // `max` is no number.
            text.trim().parse::<u64>().ok()
        }));
    }
    limits.into_iter().filter(|limit| *limit < UNLIMITED).min()
}

/// The folders of a group and of all above it, up to `root`.
fn above(root: &Path, path: &str) -> Vec<PathBuf> {
    let group = Path::new(path.trim_start_matches('/'));
    group.ancestors().map(|part| root.join(part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes files below a mount, each with its text.
    fn mount(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn version_2_has_one_tree_and_the_lowest_limit_above_counts() {
        let files = [
            ("pods/memory.max", "268435456\n"),
            ("pods/one/memory.max", "max\n"),
        ];
        let mount = mount(&files);
        let lowest = |groups| lowest(mount.path(), groups);
        assert_eq!(lowest("0::/pods/one\n"), Some(256 << 20));
        assert_eq!(lowest("0::/\n"), None);
        assert_eq!(lowest(""), None);
    }

    #[test]
    fn in_a_container_the_root_is_the_group() {
        let mount = mount(&[("memory.max", "134217728\n")]);
        let groups = "0::/kubepods/burstable/pod1/container\n";
        assert_eq!(lowest(mount.path(), groups), Some(128 << 20));
        assert_eq!(lowest(mount.path(), "0::/\n"), Some(128 << 20));
    }

    #[test]
    fn version_1_has_a_tree_for_memory_and_a_number_for_none() {
        let none = "9223372036854771712\n";
        let file = "memory/pod/memory.limit_in_bytes";
        let mount = mount(&[
            ("memory/memory.limit_in_bytes", none),
            (file, "536870912\n"),
        ]);
        let lowest = |groups| lowest(mount.path(), groups);
        let groups = "5:cpu,cpuacct:/pod\n4:memory:/pod\n1:name=systemd:/pod\n";
        assert_eq!(lowest(groups), Some(512 << 20));
        assert_eq!(lowest("4:memory:/other\n"), None);
        assert_eq!(lowest("5:cpu,cpuacct:/pod\n"), None);
    }

    #[test]
    fn instances_get_most_of_what_the_node_leaves() {
        assert_eq!(share(256 << 20), 144 << 20);
        assert_eq!(share(64 << 20), 12 << 20);
        assert!(share(1 << 30) < 1 << 30);
    }
}
