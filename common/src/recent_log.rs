use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lines that are kept at most.
const MAX_LINES: usize = 2000;
/// Their size together, at most, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// How much of one line is kept, in bytes.
const MAX_LINE: usize = 8 << 10;

/// The last lines of a log, in memory: as many as fit into 1 MiB, 2000 at most. A handle: clones
/// share everything. Each write is one entry of the log, as `tracing-subscriber` writes them.
#[derive(Debug, Clone, Default)]
pub struct RecentLog {
    inner: Arc<Mutex<Lines>>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: VecDeque<String>,
    bytes: usize,
    dropped: u64,
}

impl RecentLog {
    /// The lines, oldest first, and how many older ones were dropped.
    pub fn read(&self) -> (Vec<String>, u64) {
        let lines = self.lock();
        (lines.lines.iter().cloned().collect(), lines.dropped)
    }

    fn push(&self, entry: &[u8]) {
        let kept = &entry[..entry.len().min(MAX_LINE)];
        let mut text = String::from_utf8_lossy(kept).trim_end().to_owned();
        if kept.len() < entry.len() {
            text.push_str(" …");
        }
        let mut lines = self.lock();
        lines.bytes += text.len();
        lines.lines.push_back(text);
        while lines.lines.len() > MAX_LINES || lines.bytes > MAX_BYTES {
            let Some(oldest) = lines.lines.pop_front() else {
                break;
            };
            lines.bytes -= oldest.len();
            lines.dropped += 1;
        }
    }

    /// Ignores poisoning: no code that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for RecentLog {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        self.push(entry);
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        let log = RecentLog::default();
        let mut writer = log.clone();
        for number in 0..MAX_LINES + 3 {
            writer.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        let (lines, dropped) = log.read();
        assert_eq!((lines.len(), dropped), (MAX_LINES, 3));
        assert_eq!(lines[0], "3");
    }

    #[test]
    fn memory_is_bounded() {
        let log = RecentLog::default();
        let mut writer = log.clone();
        for _ in 0..1000 {
            writer.write_all(&vec![b'x'; 100_000]).unwrap();
        }
        let (lines, dropped) = log.read();
        let bytes: usize = lines.iter().map(String::len).sum();
        assert!(bytes <= MAX_BYTES, "{bytes}");
        assert!(lines.iter().all(|line| line.ends_with('…')));
        assert_eq!(lines.len() as u64 + dropped, 1000);
    }
}
