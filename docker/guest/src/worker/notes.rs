//! What the worker tells the broker, kept while the broker is away.

use std::{cell::Cell, rc::Rc};

use rumi_proto::v1::{Output, ServiceState, SpareFailed, WorkerEvent, worker_event::Event};
use rustix::process::{Pid, geteuid, getppid};
use tokio::sync::mpsc;

use crate::say;

/// Notes that wait for the broker; later ones are counted and dropped.
const WAITING: usize = 256;

/// The writing end; clones share one queue.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    queue: mpsc::Sender<WorkerEvent>,
    dropped: Rc<Cell<u64>>,
    /// Leads to PID 1, where our own stderr does not.
    log: Option<mpsc::Sender<String>>,
}

pub(crate) fn queue() -> (Notes, mpsc::Receiver<WorkerEvent>) {
    let (queue, receiver) = mpsc::channel(WAITING);
    let dropped = Rc::new(Cell::new(0));
    let notes = Notes {
        queue,
        dropped,
        log: None,
    };
    (notes, receiver)
}

impl Notes {
    /// A worker that the engine started has a stderr that nobody reads. Its lines come out here,
    /// for PID 1 to write them.
    pub(crate) fn log(&mut self) -> mpsc::Receiver<String> {
        let (log, lines) = mpsc::channel(WAITING);
        self.log = (getppid() != Some(Pid::INIT)).then_some(log);
        lines
    }

    /// A line for the component's log; it goes to our stderr as well.
    pub(crate) fn output(&self, line: String) {
        say::line_of(geteuid().as_raw(), &line);
        if let Some(log) = &self.log
            && log.try_send(line.clone()).is_err()
        {
            // A flood; the broker is told of it below.
        }
        self.send(Event::Output(Output { line }));
    }

    /// One spare that was asked for will not come.
    pub(crate) fn spare_failed(&self, message: String) {
        say::line_of(geteuid().as_raw(), &message);
        self.send(Event::SpareFailed(SpareFailed { message }));
    }

    /// How the service's program is.
    pub(crate) fn service(&self, state: ServiceState) {
        self.send(Event::ServiceState(state));
    }

    fn send(&self, event: Event) {
        let missing = self.dropped.get();
        if missing > 0 {
            let line = format!("{missing} lines were dropped while the broker was away");
            let event = Event::Output(Output { line });
            if self
                .queue
                .try_send(WorkerEvent { event: Some(event) })
                .is_ok()
            {
                self.dropped.set(0);
            }
        }
        let event = WorkerEvent { event: Some(event) };
        if self.queue.try_send(event).is_err() {
            self.dropped.set(self.dropped.get() + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_counted_and_said() {
        let (notes, mut receiver) = queue();
        for number in 0..WAITING + 3 {
            notes.send(Event::Output(Output {
                line: number.to_string(),
            }));
        }
        for _ in 0..WAITING {
            receiver.try_recv().unwrap();
        }
        assert!(receiver.try_recv().is_err());
        notes.output("after".to_owned());
        let lines: Vec<String> = std::iter::from_fn(|| receiver.try_recv().ok())
            .map(|event| match event.event {
                Some(Event::Output(output)) => output.line,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            lines,
            ["3 lines were dropped while the broker was away", "after"]
        );
    }
}
