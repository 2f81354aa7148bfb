//! Spares of tools that no warm interpreter makes: each is this binary, which keeps the tool's program.

use std::{cell::RefCell, io, rc::Rc};

use crate::spare::NEVER_CAME;

use super::{
    interpreter::{Surroundings, read_lines},
    notes::Notes,
};

/// Starts one spare. It comes to the broker by itself; that it will not come is told.
pub(crate) fn start(surroundings: &Surroundings, notes: &Notes) -> io::Result<()> {
    let mut spare = surroundings.spare().spawn()?;
    let stderr = spare.stderr.take();
    let notes = notes.clone();
    tokio::task::spawn_local(async move {
        let last = Rc::new(RefCell::new(String::new()));
        if let Some(stderr) = stderr {
            read_lines(stderr, |line| {
                notes.output(line.clone());
                last.replace(line);
            })
            .await;
        }
        match spare.wait().await {
            Ok(status) if status.code() == Some(i32::from(NEVER_CAME)) => {
                notes.spare_failed(last.take());
            }
            Ok(_) => {}
            Err(error) => notes.output(format!("a spare cannot be waited for: {error}")),
        }
    });
    Ok(())
}
