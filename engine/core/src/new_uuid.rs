use std::time::{Duration, SystemTime, SystemTimeError};

use uuid::{NoContext, Timestamp, Uuid};

/// A new version 7 UUID, which sorts by the time when it was generated. Unlike [`Uuid::now_v7`] it
/// does not panic where the clock is before 1970: it is of 1970 then.
pub fn new_uuid() -> Uuid {
    generate(SystemTime::UNIX_EPOCH.elapsed())
}

fn generate(since_1970: Result<Duration, SystemTimeError>) -> Uuid {
    match since_1970 {
        Ok(_) => Uuid::now_v7(),
        Err(_) => Uuid::new_v7(Timestamp::from_unix(NoContext, 0, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_1970_gives_ids_that_differ() {
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let early = || generate(SystemTime::UNIX_EPOCH.duration_since(later));
        let (first, second) = (early(), early());
        assert_ne!(first, second);
        assert_eq!(first.get_version_num(), 7);
        assert!(first < new_uuid());
    }
}
