//! One tool, many calls: some at once, their results in the order of their arguments.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use rumi_proto::v1::{CallDenial, CallResponse};
use tokio::task::JoinSet;

use super::{
    Template,
    arguments::Line,
    counting::Counting,
    profile::{self, Profile},
    shown::{self, Verdict},
};
use crate::{
    broker::Client,
    console::Console,
    context::Context,
    failure::{Exit, Failure},
    json_text::Layout,
    output::Format,
};

/// Bytes of results that may wait for one before them before no further call begins.
const MOST_HELD: usize = 64 << 20;
/// Different refusals that are explained at the end.
const MOST_DENIALS: usize = 20;

type Answer = Result<(CallResponse, Duration), Failure>;

/// Calls for each line, and prints a line for each.
pub(super) async fn run(
    client: Client,
    context: &mut Context,
    template: &Template,
    lines: Vec<Line>,
    jobs: usize,
) -> Result<(), Failure> {
    let mut told = Told::new(context, template, lines.len());
    let mut waiting: VecDeque<(usize, Line)> = lines.into_iter().enumerate().collect();
    let mut open: JoinSet<(usize, Answer)> = JoinSet::new();
    let mut held = Held::default();
    // Dropping the set ends what is open, so that a reader who has had enough ends it all.
    loop {
        while open.len() < jobs && (held.bytes < MOST_HELD || open.is_empty()) {
            let Some((index, line)) = waiting.pop_front() else {
                break;
            };
            held.numbers.insert(index, line.number);
            let (template, client) = (template.clone(), client.clone());
            open.spawn(async move { (index, template.call(client, line.text).await) });
        }
        let Some(ended) = open.join_next().await else {
            break;
        };
        let (index, answer) = ended.map_err(|error| Failure::Failed {
            message: format!("a call was lost inside of packctl: {error}"),
            hint: String::new(),
        })?;
        told.counting.step();
        held.keep(index, answer);
        while let Some((number, answer)) = held.next() {
            told.tell(context, number, answer)?;
        }
    }
    told.conclude(context)
}

/// Answers that wait for one before them.
#[derive(Debug, Default)]
struct Held {
    next: usize,
    bytes: usize,
    answers: BTreeMap<usize, Answer>,
    numbers: BTreeMap<usize, usize>,
}

impl Held {
    fn keep(&mut self, index: usize, answer: Answer) {
        self.bytes = self.bytes.saturating_add(size(&answer));
        self.answers.insert(index, answer);
    }

    /// The answer whose turn it is, with the number of its line.
    fn next(&mut self) -> Option<(usize, Answer)> {
        let answer = self.answers.remove(&self.next)?;
        let number = self.numbers.remove(&self.next).unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(size(&answer));
        self.next = self.next.saturating_add(1);
        Some((number, answer))
    }
}

fn size(answer: &Answer) -> usize {
    answer.as_ref().map_or(0, |(reply, _)| {
        reply.result_json.len() + reply.stdout.len() + reply.stderr.len()
    })
}

/// What was printed so far, and what is to be said at the end.
#[derive(Debug)]
struct Told {
    counting: Counting,
    console: Console,
    format: Format,
    verbose: bool,
    profiled: bool,
    printed: usize,
    all: usize,
    failed: usize,
    denied: usize,
    denials: Vec<CallDenial>,
    explained: BTreeSet<(String, String, String)>,
    profiles: Vec<Profile>,
}

impl Told {
    fn new(context: &Context, template: &Template, all: usize) -> Self {
        Self {
            counting: Counting::new(context.console, all),
            console: context.console,
            format: context.out.format(),
            verbose: template.verbose,
            profiled: template.profile,
            printed: 0,
            all,
            failed: 0,
            denied: 0,
            denials: Vec::new(),
            explained: BTreeSet::new(),
            profiles: Vec::new(),
        }
    }

    fn tell(
        &mut self,
        context: &mut Context,
        number: usize,
        answer: Answer,
    ) -> Result<(), Failure> {
        let checked = answer.and_then(|(reply, took)| Ok((Verdict::of(&reply)?, reply, took)));
        let (verdict, reply, took) = match checked {
            Ok(checked) => checked,
            // What the broker itself refuses once it refuses for every line.
            Err(failure) => {
                self.console.error(&format!(
                    "line {number} had no answer; {} of {} results were printed",
                    self.printed, self.all
                ));
                return Err(failure);
            }
        };
        match verdict.exit() {
            Exit::Ok => {}
            Exit::Denied => self.denied += 1,
            _ => self.failed += 1,
        }
        if self.verbose {
            let whose = format!("line {number}: ");
            self.counting
                .beside(|| shown::printed(self.console, &whose, &reply));
        }
        if self.profiled {
            self.profiles.push(Profile::of(&reply, took));
        }
        self.counting.beside(|| {
            let before = match (self.format, self.printed) {
                (Format::Json, 0) => "[\n",
                (Format::Json, _) => ",\n",
                _ => "",
            };
            context.out.write(before)?;
            context.out.json_text(&reply.result_json, Layout::Compact)?;
            context.out.flush()
        })?;
        self.printed += 1;
        for denial in reply.denials {
            let same = (
                denial.permission.clone(),
                denial.target.clone(),
                denial.reason.clone(),
            );
            if self.explained.len() < MOST_DENIALS && self.explained.insert(same) {
                self.denials.push(denial);
            }
        }
        Ok(())
    }

    fn conclude(self, context: &mut Context) -> Result<(), Failure> {
        let (done, took) = self.counting.end();
        if self.format == Format::Json {
            let end = if self.printed == 0 { "[]\n" } else { "]\n" };
            context.out.write(end)?;
        }
        context.out.flush()?;
        let tenths = took.as_millis() / 100;
        let noun = if done == 1 { "call" } else { "calls" };
        self.console.say(&format!(
            "{done} {noun} in {}.{} s: {} ok, {} failed, {} denied",
            tenths / 10,
            tenths % 10,
            done - self.failed - self.denied,
            self.failed,
            self.denied
        ));
        profile::show_many(context, &self.profiles)?;
        for denial in &self.denials {
            shown::explain(self.console, denial);
        }
        match (self.failed, self.denied) {
            (0, 0) => Ok(()),
            (0, _) => Err(Failure::Said(Exit::Denied)),
            _ => Err(Failure::Said(Exit::Failed)),
        }
    }
}
