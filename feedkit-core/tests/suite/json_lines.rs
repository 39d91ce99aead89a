//! Reading files of JSON lines.

use std::time::Duration;

use feedkit_core::json_lines::JsonLinesSource;
use feedkit_core::source::{Batch, GapReason, Resume, SourceEvent};
use feedkit_core::testkit::ManualClock;
use feedkit_core::{ErrorKind, EventSource, Offset, Partition, Timestamp};

fn file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

fn source(file: &tempfile::NamedTempFile) -> JsonLinesSource {
    JsonLinesSource::new(file.path(), ManualClock::at(Timestamp::from_millis(5)))
}

async fn resume(source: &mut JsonLinesSource, resume: Resume) -> SourceEvent {
    match source.next().await.unwrap() {
        SourceEvent::Assigned(assigned) => assigned.resume(resume),
        other => panic!("{other:?} comes first"),
    }
    source.next().await.unwrap()
}

async fn read(file: &tempfile::NamedTempFile, offset: Offset) -> Batch {
    match resume(&mut source(file), Resume { offset, ..Resume::default() }).await {
        SourceEvent::Batch(batch) => batch,
        other => panic!("{other:?} instead of a batch"),
    }
}

#[tokio::test]
async fn a_record_is_a_line() {
    let file = file("a\r\n\nb\n  \nlast");
    let batch = read(&file, 0).await;
    let records: Vec<_> = batch.records.iter().map(|r| (r.offset, &r.value[..])).collect();
    assert_eq!(records, [(0, &b"a"[..]), (2, b"b"), (3, b"  "), (4, b"last")]);
    assert!(batch.records.iter().all(|r| r.time == Timestamp::from_millis(5)));
    assert_eq!((batch.from, batch.to, batch.at_end), (0, 5, true));
    assert_eq!(source(&file).ends().await.unwrap().of(Partition(0)), 5);
    let batch = read(&file, 3).await;
    assert_eq!((batch.from, batch.to, batch.records.len()), (3, 5, 2));
}

#[tokio::test(start_paused = true)]
async fn batches_follow_each_other_and_then_it_waits() {
    let lines: String = (0..45_000).map(|i| format!("{i}\n")).collect();
    let file = file(&lines);
    let mut source = source(&file);
    let mut event = resume(&mut source, Resume::default()).await;
    let mut at = 0;
    loop {
        let SourceEvent::Batch(batch) = event else { panic!("{event:?} instead of a batch") };
        assert_eq!(batch.from, at);
        for record in &batch.records {
            assert_eq!(record.value, record.offset.to_string());
        }
        at = batch.to;
        assert_eq!(batch.at_end, at == 45_000);
        if batch.at_end {
            break;
        }
        // Given up at every stage of reading, it loses nothing.
        event = loop {
            if let Ok(event) = tokio::time::timeout(Duration::from_micros(1), source.next()).await {
                break event.unwrap();
            }
            tokio::task::yield_now().await;
        };
    }
    assert!(tokio::time::timeout(Duration::from_secs(5), source.next()).await.is_err());
}

#[tokio::test]
async fn what_does_not_fit_is_a_gap() {
    let file = file("a\nb\nc\n");
    let last = read(&file, 0).await.records[1].mark();
    let at = |offset, last, log| Resume { offset, log, last };
    let mut reasons = Vec::new();
    let mut other = last;
    other.hash += 1;
    for wanted in [at(2, Some(last), None), at(2, Some(other), None), at(4, None, None), at(0, None, Some(1))]
    {
        reasons.push(match resume(&mut source(&file), wanted).await {
            SourceEvent::Gap(gap) => Some((gap.reason, gap.end)),
            _ => None,
        });
    }
    let gap = |reason| Some((reason, 3));
    assert_eq!(
        reasons,
        [None, gap(GapReason::Recreated), gap(GapReason::Truncated), gap(GapReason::Recreated)]
    );
}

#[tokio::test]
async fn a_long_line_is_cut_and_a_missing_file_named() {
    let file = file(&format!("{}\nb\n", "x".repeat(5 << 20)));
    let batch = read(&file, 0).await;
    assert_eq!(batch.records.iter().map(|r| r.value.len()).collect::<Vec<_>>(), [4 << 20, 1]);

    let mut source = JsonLinesSource::new("no/such/file", ManualClock::default());
    let error = source.ends().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal);
    assert!(error.to_string().contains("no/such/file"), "{error}");
}
