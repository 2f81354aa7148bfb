//! Reads records back, without a lock and beside a running broker.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::clock;
use crate::json::push_string;
use crate::line::Field;
use crate::lines::{Lines, Next};
use crate::parse::Line;
use crate::segment::Segment;

/// What is looked for; every field that is set must match.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Exact pack id.
    pub pack: Option<String>,
    /// Exact component id.
    pub component: Option<String>,
    /// Exact permission.
    pub permission: Option<String>,
    /// `allow` or `deny`.
    pub decision: Option<String>,
    /// Exact reason code (also `ok`, `abandoned` and error codes of outcomes).
    pub reason: Option<String>,
    /// Exact phase.
    pub phase: Option<String>,
    /// Exact record id.
    pub id: Option<String>,
    /// Not older than this.
    pub since: Option<SystemTime>,
    /// Older than this.
    pub until: Option<SystemTime>,
    /// Occurs anywhere in the record, as it is or as the log spells it.
    pub text: Option<String>,
}

/// One record, read back.
#[derive(Debug, Clone)]
pub struct Record {
    /// The line as it stands in the log, without the newline. Safe to print.
    pub line: String,
    /// The line, parsed. Its strings are not safe to print: they may hold control characters.
    pub fields: Value,
}

/// Why records could not be read.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The file system said no.
    #[error("cannot read `{path}`: {source}; run this as root, or check the state directory")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A line is not a record.
    #[error("`{path}`, line {line}: {what}; run `packctl audit verify`")]
    Malformed {
        /// The segment.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
}

impl QueryError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

/// A filter, spelled as the log spells, so that records are compared without being taken apart.
#[derive(Debug, Clone)]
struct Sieve {
    exact: Vec<(Field, String)>,
    phase: Option<String>,
    since: Option<String>,
    until: Option<String>,
    text: Option<(String, String)>,
}

fn spelled(text: &str) -> String {
    let mut out = Vec::new();
    push_string(&mut out, text);
    String::from_utf8(out).unwrap_or_default()
}

impl Sieve {
    fn new(filter: &Filter) -> Self {
        let fields = [
            (Field::Pack, &filter.pack),
            (Field::Component, &filter.component),
            (Field::Permission, &filter.permission),
            (Field::Decision, &filter.decision),
            (Field::Reason, &filter.reason),
            (Field::Id, &filter.id),
        ];
        let time = |time| String::from_utf8_lossy(&clock::spell(time)).into_owned();
        Self {
            exact: fields
                .into_iter()
                .filter_map(|(field, text)| Some((field, spelled(text.as_deref()?))))
                .collect(),
            phase: filter.phase.clone(),
            since: filter.since.map(time),
            until: filter.until.map(time),
            text: filter.text.as_ref().map(|text| {
                let inner = spelled(text);
                let inner = inner.trim_matches('"').to_owned();
                (text.clone(), inner)
            }),
        }
    }

    fn lets_through(&self, line: &Line<'_>, text: &str) -> bool {
        self.exact
            .iter()
            .all(|(field, wanted)| line.raw(*field) == wanted.as_bytes())
            && self
                .phase
                .as_deref()
                .is_none_or(|wanted| line.phase.name() == wanted)
            && self
                .since
                .as_deref()
                .is_none_or(|since| line.time >= since.as_bytes())
            && self
                .until
                .as_deref()
                .is_none_or(|until| line.time < until.as_bytes())
            && self
                .text
                .as_ref()
                .is_none_or(|(raw, inner)| text.contains(raw) || text.contains(inner))
    }

    fn judge(&self, bytes: &[u8]) -> Result<Option<Record>, String> {
        let line = Line::parse(bytes).map_err(|error| error.to_string())?;
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        if !self.lets_through(&line, text) {
            return Ok(None);
        }
        Ok(Some(Record {
            line: text.to_owned(),
            fields: serde_json::from_str(text).map_err(|error| error.to_string())?,
        }))
    }
}

/// Reader of one segment that knows its path.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    first: u64,
    lines: Lines,
}

impl Source {
    fn open(segment: Segment) -> Result<Self, QueryError> {
        let lines = Lines::open(&segment.path).map_err(QueryError::io(&segment.path))?;
        Ok(Self {
            path: segment.path,
            first: segment.first,
            lines,
        })
    }

    /// The next matching record; nothing at the present end. A line without an end is left for later: a
    /// running broker may still be writing it, and the verifier tells whether it is broken.
    fn next(&mut self, sieve: &Sieve) -> Result<Option<Record>, QueryError> {
        loop {
            let line = self.lines.count() + 1;
            let malformed = |what: String| QueryError::Malformed {
                path: self.path.clone(),
                line,
                what,
            };
            match self.lines.next().map_err(QueryError::io(&self.path))? {
                Next::Line(marked) => {
                    let bytes = marked.get(1..).unwrap_or_default();
                    if let Some(record) = sieve.judge(bytes).map_err(malformed)? {
                        return Ok(Some(record));
                    }
                }
                Next::Torn | Next::End => return Ok(None),
                Next::TooLong => return Err(malformed("longer than a line may be".to_owned())),
            }
        }
    }

    fn skip_all(&mut self) -> Result<(), QueryError> {
        loop {
            match self.lines.next().map_err(QueryError::io(&self.path))? {
                Next::Line(_) => {}
                _ => return Ok(()),
            }
        }
    }
}

fn segments(dir: &Path) -> Result<Vec<Segment>, QueryError> {
    Segment::list(dir).map_err(QueryError::io(dir))
}

/// Iterator over matching records, oldest first. It ends at the first error.
#[derive(Debug)]
pub struct Scan {
    sieve: Sieve,
    segments: VecDeque<Segment>,
    source: Option<Source>,
}

impl Scan {
    fn advance(&mut self) -> Result<Option<Record>, QueryError> {
        loop {
            if let Some(source) = &mut self.source
                && let Some(record) = source.next(&self.sieve)?
            {
                return Ok(Some(record));
            }
            match self.segments.pop_front() {
                Some(segment) => self.source = Some(Source::open(segment)?),
                None => return Ok(None),
            }
        }
    }
}

impl Iterator for Scan {
    type Item = Result<Record, QueryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            self.source = None;
            self.segments.clear();
        }
        next.transpose()
    }
}

/// All matching records, oldest first, streaming.
///
/// # Errors
/// The directory cannot be read.
pub fn scan(dir: &Path, filter: &Filter) -> Result<Scan, QueryError> {
    Ok(Scan {
        sieve: Sieve::new(filter),
        segments: segments(dir)?.into(),
        source: None,
    })
}

/// The last `count` matching records, oldest first; segments are read from the newest back, no more than needed.
///
/// # Errors
/// The directory or a file cannot be read.
pub fn tail(dir: &Path, filter: &Filter, count: usize) -> Result<Vec<Record>, QueryError> {
    let sieve = Sieve::new(filter);
    let mut found: VecDeque<Record> = VecDeque::new();
    for segment in segments(dir)?.into_iter().rev() {
        let wanted = count - found.len();
        if wanted == 0 {
            break;
        }
        let mut source = Source::open(segment)?;
        let mut here = VecDeque::new();
        while let Some(record) = source.next(&sieve)? {
            if here.len() == wanted {
                here.pop_front();
            }
            here.push_back(record);
        }
        here.append(&mut found);
        found = here;
    }
    Ok(found.into())
}

/// Follows the log as it grows.
#[derive(Debug)]
pub struct Follow {
    dir: PathBuf,
    sieve: Sieve,
    source: Option<Source>,
}

impl Follow {
    /// Starts behind the last record that is there now.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn from_end(dir: &Path, filter: &Filter) -> Result<Self, QueryError> {
        let mut source = segments(dir)?.pop().map(Source::open).transpose()?;
        if let Some(source) = &mut source {
            source.skip_all()?;
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            sieve: Sieve::new(filter),
            source,
        })
    }

    /// Records that were added since the last call; empty when there are none. Ask a few times a second.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn poll(&mut self) -> Result<Vec<Record>, QueryError> {
        let mut found = Vec::new();
        loop {
            // Listed first: when a later segment is there, this one is complete, and draining it loses nothing.
            let after = self.source.as_ref().map(|source| source.first);
            let next = segments(&self.dir)?
                .into_iter()
                .find(|segment| after.is_none_or(|first| segment.first > first));
            if let Some(source) = &mut self.source {
                while let Some(record) = source.next(&self.sieve)? {
                    found.push(record);
                }
            }
            match next {
                Some(segment) => self.source = Some(Source::open(segment)?),
                None => return Ok(found),
            }
        }
    }
}
