//! Segments in memory against the definition.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;

/// The least that holds a block.
const PAYLOAD: usize = 1600;

type Document = Vec<u16>;

/// Pages in memory.
#[derive(Default)]
struct Memory {
    pages: RefCell<Vec<Option<Vec<u8>>>>,
}

impl Sink for Memory {
    fn write(&mut self, page: u32, bytes: &[u8]) -> Result<(), Fault> {
        assert!(bytes.len() <= PAYLOAD);
        let pages = self.pages.get_mut();
        let count = pages.len().max(page as usize + 1);
        pages.resize(count, None);
        assert!(pages[page as usize].is_none(), "each page comes once");
        let mut whole = bytes.to_vec();
        whole.resize(PAYLOAD, 0);
        pages[page as usize] = Some(whole);
        Ok(())
    }
}

impl Pages for Memory {
    fn read<R>(&self, page: u32, with: impl FnOnce(&[u8]) -> R) -> Result<R, Fault> {
        Ok(with(self.pages.borrow()[page as usize].as_ref().expect("each page was written")))
    }
}

/// The row of a document of the whole corpus.
fn row(number: usize) -> RowAddress {
    let mut row = [0; 6];
    row[..4].copy_from_slice(&(number as u32).to_be_bytes());
    row[4..].copy_from_slice(&1u16.to_ne_bytes());
    row
}

fn number(row: RowAddress) -> usize {
    u32::from_be_bytes([row[0], row[1], row[2], row[3]]) as usize
}

/// Some words share a beginning, some are long.
fn word(word: u16) -> Vec<u8> {
    match word % 3 {
        0 => format!("w{word}").into_bytes(),
        1 => format!("shared{word:05}").into_bytes(),
        _ => format!("{word}").repeat(1 + usize::from(word) % 40).into_bytes(),
    }
}

fn counted(document: &Document) -> BTreeMap<Vec<u8>, u32> {
    let mut counted = BTreeMap::new();
    document.iter().for_each(|&w| *counted.entry(word(w)).or_insert(0) += 1);
    counted
}

fn segment_of(pages: Memory, summary: Summary) -> Segment<Memory> {
    let summary = Summary::from_bytes(&summary.to_bytes()).expect("a summary comes back");
    assert_eq!(pages.pages.borrow().len(), summary.pages as usize);
    assert!(pages.pages.borrow().iter().all(Option::is_some));
    Segment::new(pages, summary, PAYLOAD)
}

/// A segment of documents that are numbered from `first`.
fn write(first: usize, documents: &[Document]) -> Segment<Memory> {
    let mut pages = Memory::default();
    let mut writer = SegmentWriter::new(&mut pages, PAYLOAD, Params::default());
    let mut inverter = Inverter::new();
    for (i, document) in documents.iter().enumerate() {
        let length = inverter.push(document.iter().map(|&w| (word(w), 1)));
        assert_eq!(length as usize, document.len());
        writer.push_document(row(first + i), length).unwrap();
    }
    let summary = inverter.write(writer).unwrap();
    segment_of(pages, summary)
}

fn kill(segment: &Segment<Memory>, doc: u32) {
    let (page, offset) = document_place(doc, PAYLOAD);
    let mut pages = segment.pages.pages.borrow_mut();
    assert!(clear_document(pages[page as usize].as_mut().unwrap(), offset));
}

fn dead_of(segment: &Segment<Memory>) -> Vec<bool> {
    let mut dead = Vec::new();
    segment
        .for_each_document(|_, row, _| {
            dead.push(is_dead(&row));
            Ok(())
        })
        .unwrap();
    dead
}

fn recounted(segment: &Segment<Memory>) -> u64 {
    let dead = dead_of(segment);
    let edits = RefCell::new(Vec::new());
    let changed = recount(
        segment,
        |doc| dead[doc as usize],
        |page, some| {
            edits.borrow_mut().push((page, some.to_vec()));
            Ok(())
        },
    );
    for (page, edits) in edits.into_inner() {
        let mut pages = segment.pages.pages.borrow_mut();
        let page = pages[page as usize].as_mut().unwrap();
        for (offset, bytes) in edits {
            page[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
    }
    changed.unwrap()
}

fn sound(segment: &Segment<Memory>) {
    let (problems, counts) = check(segment, 5).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(counts.outdated, 0);
    assert_eq!(counts.dead, segment.count_dead().unwrap());
}

/// Everything that a segment has, by rows; what is dead left out.
fn contents(segment: &Segment<Memory>) -> BTreeMap<Vec<u8>, Vec<(usize, u32, u32)>> {
    let mut rows = Vec::new();
    segment
        .for_each_document(|_, row, _| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
    let mut contents = BTreeMap::new();
    segment
        .for_each_term(|term, entry| {
            let mut postings = Vec::new();
            segment.postings(entry, |posting| {
                let row = rows[posting.doc as usize];
                if !is_dead(&row) {
                    postings.push((number(row), posting.tf, posting.length));
                }
                Ok(())
            })?;
            if !postings.is_empty() {
                contents.insert(term.to_vec(), postings);
            }
            Ok(())
        })
        .unwrap();
    contents
}

fn expected_contents(
    documents: &[Document],
    dead: &HashSet<usize>,
) -> BTreeMap<Vec<u8>, Vec<(usize, u32, u32)>> {
    let mut contents: BTreeMap<Vec<u8>, Vec<_>> = BTreeMap::new();
    for (i, document) in documents.iter().enumerate().filter(|(i, _)| !dead.contains(i)) {
        for (term, tf) in counted(document) {
            contents.entry(term).or_default().push((i, tf, document.len() as u32));
        }
    }
    contents
}

/// The terms of a query with their weights, as a scan finds them, and what each segment has of them.
fn prepared(
    segments: &[Segment<Memory>],
    query: &[u16],
) -> (Scorer, Vec<QueryTerm>, Vec<Vec<Option<TermEntry>>>) {
    let mut corpus = Corpus::default();
    for segment in segments {
        segment
            .for_each_document(|_, row, length| {
                if !is_dead(&row) {
                    corpus.docs += 1;
                    corpus.length += u64::from(length);
                }
                Ok(())
            })
            .unwrap();
    }
    let scorer = Scorer::new(Params::default(), corpus.avgdl());
    let words = counted(&query.to_vec());
    let mut terms = Vec::new();
    let mut entries = vec![Vec::new(); segments.len()];
    for (term, times) in words {
        let mut df = 0;
        for (segment, entries) in segments.iter().zip(&mut entries) {
            let entry = segment.lookup(&term).unwrap();
            df += entry.as_ref().map_or(0, |entry| u64::from(entry.live_df()));
            entries.push(entry);
        }
        if df > 0 {
            terms.push(QueryTerm { term, weight: f64::from(times) * idf(corpus.docs, df) });
        } else {
            entries.iter_mut().for_each(|entries| entries.truncate(terms.len()));
        }
    }
    (scorer, terms, entries)
}

fn found(
    segments: &[Segment<Memory>],
    query: &[u16],
    k: usize,
    ceiling: Option<(f64, &HashSet<RowAddress>)>,
    has_dead: bool,
) -> Vec<Hit> {
    let (scorer, terms, entries) = prepared(segments, query);
    let mut top = Top::new(k, ceiling);
    for (segment, entries) in segments.iter().zip(&entries) {
        search(segment, &terms, entries, &scorer, has_dead, &mut top).unwrap();
    }
    top.into_sorted()
}

/// All matches by definition, best first, of equal ones the earlier row first.
fn expected(documents: &[Document], dead: &HashSet<usize>, query: &[u16]) -> Vec<(f64, usize)> {
    let live: Vec<usize> = (0..documents.len()).filter(|i| !dead.contains(i)).collect();
    let words: Vec<_> = live.iter().map(|&i| documents[i].clone()).collect();
    let scores = reference::scores(&words, query, Params::default());
    let mut all: Vec<_> = scores.into_iter().zip(live).filter(|&(score, _)| score > 0.0).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all
}

/// The hits are the best of the expected ones: each has its own score, and the scores are the best ones in order.
fn agree(hits: &[Hit], expected: &[(f64, usize)], k: usize) {
    assert_eq!(hits.len(), expected.len().min(k));
    let by_row: BTreeMap<usize, f64> = expected.iter().map(|&(score, row)| (row, score)).collect();
    let mut seen = HashSet::new();
    for (hit, best) in hits.iter().zip(expected) {
        assert!((hit.score - best.0).abs() < 1e-9, "{} {}", hit.score, best.0);
        assert!((hit.score - by_row[&number(hit.row)]).abs() < 1e-9);
        assert!(seen.insert(hit.row));
    }
    for pair in hits.windows(2) {
        assert!(pair[0].score >= pair[1].score);
        assert!(pair[0].score > pair[1].score || number(pair[0].row) < number(pair[1].row));
    }
}

/// Words as in language: few are in many documents, most in few.
fn corpora(most: usize) -> impl Strategy<Value = Vec<Document>> {
    let word = (0u32..1_000_000, 1u32..9)
        .prop_map(|(n, spread)| ((f64::from(n) / 1e6).powi(spread as i32) * 2000.0) as u16);
    let document = prop_oneof![
        9 => prop::collection::vec(word.clone(), 0..12),
        1 => prop::collection::vec(word, 0..80),
    ];
    prop::collection::vec(document, 0..most)
}

fn split(documents: &[Document], cuts: &[prop::sample::Index]) -> Vec<Segment<Memory>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(documents.len() + 1)).collect();
    cuts.extend([0, documents.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| write(cut[0], &documents[cut[0]..cut[1]])).collect()
}

/// Marks documents as dead, in the segments, too.
fn bury(segments: &[Segment<Memory>], documents: usize, every: usize) -> HashSet<usize> {
    let dead: HashSet<usize> = (0..documents).filter(|i| i % every == 1).collect();
    for segment in segments {
        assert_eq!(segment.count_dead().unwrap(), 0);
        let mut doomed = Vec::new();
        segment
            .for_each_document(|doc, row, _| {
                if dead.contains(&number(row)) {
                    doomed.push(doc);
                }
                Ok(())
            })
            .unwrap();
        doomed.into_iter().for_each(|doc| kill(segment, doc));
        recounted(segment);
        assert_eq!(recounted(segment), 0);
    }
    dead
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_written_is_read(documents in corpora(600)) {
        let segment = write(0, &documents);
        sound(&segment);
        let expected = expected_contents(&documents, &HashSet::new());
        prop_assert_eq!(contents(&segment), expected.clone());
        for (term, postings) in &expected {
            let entry = segment.lookup(term).unwrap().unwrap();
            prop_assert_eq!(entry.postings as usize, postings.len());
            prop_assert!(segment.lookup(&[term, &b"0"[..]].concat()).unwrap().is_none_or(|entry| entry.postings > 0));
        }
        prop_assert!(segment.lookup(b"").unwrap().is_none());
        prop_assert!(segment.lookup(b"zzz").unwrap().is_none());
        for (doc, document) in (0..).zip(&documents) {
            prop_assert_eq!(segment.document(doc).unwrap(), (row(doc as usize), document.len() as u32));
        }
    }

    #[test]
    fn the_best_are_found(
        documents in corpora(900),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        query in prop::collection::vec(prop_oneof![0u16..12, 0u16..2000], 1..7),
        every in prop_oneof![Just(usize::MAX), 2usize..40],
    ) {
        let segments = split(&documents, &cuts);
        let dead = bury(&segments, documents.len(), every);
        segments.iter().for_each(sound);
        let expected = expected(&documents, &dead, &query);
        for k in [0, 1, 10, 100, 2000, usize::MAX] {
            let hits = found(&segments, &query, k, None, true);
            agree(&hits, &expected, k);
            // A scan that takes no document for dead finds out by itself.
            prop_assert_eq!(found(&segments, &query, k, None, false), hits);
        }
    }

    #[test]
    fn batches_go_on_where_the_last_ended(
        documents in corpora(500),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        query in prop::collection::vec(0u16..12, 1..4),
        k in 1usize..60,
        every in prop_oneof![Just(usize::MAX), 2usize..40],
    ) {
        let segments = split(&documents, &cuts);
        let dead = bury(&segments, documents.len(), every);
        let expected = expected(&documents, &dead, &query);
        let mut all: Vec<Hit> = Vec::new();
        loop {
            let last = all.last().map(|hit| hit.score);
            let seen = all.iter().filter(|hit| Some(hit.score) == last).map(|hit| hit.row).collect();
            let batch = found(&segments, &query, k, last.map(|last| (last, &seen)), !dead.is_empty());
            all.extend(&batch);
            if batch.len() < k {
                break;
            }
        }
        agree(&all, &expected, usize::MAX);
    }

    #[test]
    fn merging_is_writing_anew(
        documents in corpora(600),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        every in prop_oneof![Just(usize::MAX), 2usize..40],
    ) {
        let segments = split(&documents, &cuts);
        let dead = bury(&segments, documents.len(), every);
        let mut pages = Memory::default();
        let summary = merge(&segments, SegmentWriter::new(&mut pages, PAYLOAD, Params::default())).unwrap();
        let merged = segment_of(pages, summary);
        sound(&merged);
        prop_assert_eq!(contents(&merged), expected_contents(&documents, &dead));
        if dead.is_empty() {
            let anew = write(0, &documents);
            prop_assert_eq!(anew.summary, summary);
            prop_assert!(anew.pages.pages == merged.pages.pages);
        }
    }

    #[test]
    fn runs_are_one_segment(documents in corpora(300), every in 1usize..90) {
        let mut pages = Memory::default();
        let mut writer = SegmentWriter::new(&mut pages, PAYLOAD, Params::default());
        let mut inverter = Inverter::new();
        let mut runs = Vec::new();
        for (i, document) in documents.iter().enumerate() {
            let length = inverter.push(counted(document));
            writer.push_document(row(i), length).unwrap();
            if i % every == 0 {
                let mut run = Vec::new();
                inverter.spill(&mut run).unwrap();
                runs.push(run);
            }
        }
        let mut run = Vec::new();
        inverter.spill(&mut run).unwrap();
        runs.push(run);
        let summary = merge_runs(runs.iter().map(|run| &run[..]).collect(), writer).unwrap();
        let segment = segment_of(pages, summary);
        sound(&segment);
        prop_assert_eq!(contents(&segment), expected_contents(&documents, &HashSet::new()));
    }

    #[test]
    fn damage_is_found_or_harmless(
        documents in corpora(300),
        query in prop::collection::vec(0u16..40, 1..5),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..40),
        whole in prop::option::of((any::<prop::sample::Index>(), any::<u64>())),
    ) {
        let segment = write(0, &documents);
        let (scorer, terms, entries) = prepared(std::slice::from_ref(&segment), &query);
        {
            let mut pages = segment.pages.pages.borrow_mut();
            let count = pages.len();
            if count > 0 {
                for (page, at, byte) in flips {
                    pages[page.index(count)].as_mut().unwrap()[at.index(PAYLOAD)] = byte;
                }
                if let Some((page, seed)) = whole {
                    let mut word = seed | 1;
                    for byte in pages[page.index(count)].as_mut().unwrap() {
                        word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
                        *byte = word as u8;
                    }
                }
            }
        }
        let _ = check(&segment, 3);
        let _ = recount(&segment, |doc| doc % 3 == 0, |_, _| Ok(()));
        let _ = segment.count_dead();
        for k in [1, 10, usize::MAX] {
            let mut top = Top::new(k, None);
            let _ = search(&segment, &terms, &entries[0], &scorer, false, &mut top);
            let again: Vec<_> = terms.iter().map(|term| segment.lookup(&term.term)).collect();
            if let Ok(entries) = again.into_iter().collect::<Result<Vec<_>, _>>() {
                let _ = search(&segment, &terms, &entries, &scorer, true, &mut top);
            }
        }
        let mut pages = Memory::default();
        let _ = merge(&[segment], SegmentWriter::new(&mut pages, PAYLOAD, Params::default()));
    }

    #[test]
    fn any_bytes_are_a_summary_or_none(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = Summary::from_bytes(&bytes);
    }
}

#[test]
fn an_empty_segment_has_nothing() {
    for documents in [vec![], vec![vec![]; 3]] {
        let segment = write(0, &documents);
        sound(&segment);
        assert!(segment.lookup(b"a").unwrap().is_none());
        assert_eq!(segment.summary.documents as usize, documents.len());
        assert!(found(&[segment], &[1, 2], 10, None, false).is_empty());
    }
}

#[test]
fn bounds_hold_at_another_average_length() {
    // Each segment has its own average length; together they have another.
    let short: Vec<Document> = (0..700).map(|i| vec![i % 7, i % 3]).collect();
    let long: Vec<Document> =
        (0..700).map(|i| (0..5 + i % 90).map(|j| (i + j) % 40).collect()).collect();
    let documents = [short.clone(), long.clone()].concat();
    let segments = [write(0, &short), write(short.len(), &long)];
    for query in [[0, 1], [2, 6], [5, 39]] {
        let expected = expected(&documents, &HashSet::new(), &query);
        for k in [1, 10, 100, 2000] {
            agree(&found(&segments, &query, k, None, false), &expected, k);
        }
    }
}

#[test]
fn a_search_leaves_out_what_cannot_be_among_the_best() {
    let documents: Vec<Document> = (0..40_000u32)
        .map(|i| {
            let common = u16::from(i % 3 == 0);
            let rare = if i % 1999 == 0 { vec![7] } else { vec![] };
            [vec![common; 1 + i as usize % 5], rare, vec![20; i as usize % 11]].concat()
        })
        .collect();
    let segment = write(0, &documents);
    let (scorer, terms, entries) = prepared(std::slice::from_ref(&segment), &[1, 7]);
    let mut top = Top::new(10, None);
    let stats = search(&segment, &terms, &entries[0], &scorer, false, &mut top).unwrap();
    let blocks = 40_000 / 3 / BLOCK as u64;
    assert!(stats.blocks < blocks * 3 / 4 && stats.documents < 400, "{stats:?} of {blocks}");
    agree(&top.into_sorted(), &expected(&documents, &HashSet::new(), &[1, 7]), 10);
}
