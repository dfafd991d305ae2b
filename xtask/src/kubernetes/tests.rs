use super::*;

#[test]
fn a_run_is_recorded_with_the_counts_that_the_tests_print() {
    let line = "test result: FAILED. 12 passed; 1 failed; 0 ignored; 0 measured; 60 filtered out; \
                finished in 812.34s";
    let counts = Counts::read(line).unwrap();
    assert_eq!(
        counts,
        Counts {
            passed: 12,
            failed: 1
        }
    );
    assert_eq!(Counts::read("test proofs::the_guide ... ok"), None);
    let record = Record {
        version: "1.30.14",
        counts,
        duration: Duration::from_millis(812_900),
        revision: "0123abc-modified",
    };
    assert_eq!(
        record.to_string(),
        "| 1.30.14 | 12 | 1 | 812 | 0123abc-modified |"
    );
}

#[test]
fn the_counts_are_read_of_real_output_whether_tests_pass_or_fail() {
    for (script, expected) in [
        (
            "echo 'test result: ok. 3 passed; 0 failed; 0 ignored'",
            (true, 3, 0),
        ),
        (
            "echo 'test result: FAILED. 2 passed; 1 failed; 0 ignored'; exit 101",
            (false, 2, 1),
        ),
    ] {
        let mut command = Command::new("sh");
        let (has_passed, counts) = run_tests(command.args(["-c", script])).unwrap();
        let counts = counts.unwrap();
        assert_eq!((has_passed, counts.passed, counts.failed), expected);
    }
    let mut nothing = Command::new("sh");
    let (has_passed, counts) = run_tests(nothing.args(["-c", "exit 101"])).unwrap();
    assert!(!has_passed && counts.is_none());
}
