//! The end of a call's groups: until nothing lives in them, and what becomes of them then.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::io::Errno;

use super::{
    CallCgroup, CgroupError, Ended,
    hierarchy::{Layout, is},
    number, read, write,
};

/// How long the first process is waited for before it is looked what else lives.
const FIRST: Duration = Duration::from_millis(20);
/// How soon it is looked again whether all processes are gone; the pauses grow from here.
const FIRST_STEP: Duration = Duration::from_micros(100);
/// How often it is looked when they take their time.
const STEP: Duration = Duration::from_millis(1);
/// Memory that may be charged to groups without processes for them to serve another call: what the
/// kernel gives back late is less than this, and a file that was left in /tmp may be more.
const LEFT: u64 = 1024 * 1024;
/// The same as a share of what the call may use.
const LEFT_SHARE: u64 = 16;

impl CallCgroup {
    /// Ends the call: kills until nothing lives, measures, and removes the groups.
    ///
    /// # Errors
    /// When processes still live after `patience`, or the kernel refuses.
    pub async fn end(self, patience: Duration) -> Result<Ended, CgroupError> {
        self.apart(move |mut call| {
            call.kill()?;
            call.wait_until_empty(patience)?;
            let ended = call.measured();
            call.remove()?;
            Ok(ended)
        })
        .await
    }

    /// Buries a call that was killed and measured: waits until nothing lives, lets go of `held`, and
    /// gives the groups back where another call may have them. All others are removed.
    ///
    /// # Errors
    /// As [`CallCgroup::end`].
    pub async fn bury<H: Send + 'static>(
        self,
        patience: Duration,
        held: H,
    ) -> Result<Option<Self>, CgroupError> {
        self.apart(move |mut call| {
            call.wait_until_empty(patience)?;
            drop(held);
            if call.as_good_as_new()? {
                return Ok(Some(call));
            }
            call.remove()?;
            Ok(None)
        })
        .await
    }

    /// On a thread that may sleep: a process takes a fraction of a millisecond to end,
    /// and the runtime's timer knows only whole ones.
    async fn apart<T: Send + 'static>(
        self,
        work: impl FnOnce(Self) -> Result<T, CgroupError> + Send + 'static,
    ) -> Result<T, CgroupError> {
        let path = self.directories().into_iter().next().unwrap_or_default();
        tokio::task::spawn_blocking(move || work(self))
            .await
            .map_err(|error| CgroupError::file("end", &path)(std::io::Error::other(error)))?
    }

    fn wait_until_empty(&self, patience: Duration) -> Result<(), CgroupError> {
        let end = Instant::now() + patience;
        // The kernel says when one process ends; whether all have is asked each time, in each hierarchy.
        if let Some(first) = self.first.get() {
            first.wait(FIRST.min(patience));
        }
        let mut pause = FIRST_STEP;
        while !self.is_empty() {
            self.kill()?;
            if Instant::now() >= end {
                let path = self.directories().into_iter().next().unwrap_or_default();
                return Err(CgroupError::Stubborn { path });
            }
            std::thread::sleep(pause);
            pause = pause.saturating_mul(2).min(STEP);
        }
        Ok(())
    }

    /// Whether nothing tells these groups from new ones, after their peak was set back. Making three and
    /// removing three costs ten times as much. The one group of v2 is made anew for each call: its
    /// peak cannot be set back.
    fn as_good_as_new(&mut self) -> Result<bool, CgroupError> {
        let Layout::V1 { memory, .. } = &self.container.layout else {
            return Ok(false);
        };
        let memory = self.below(memory);
        let known = |name: &str| read(&memory.join(name)).map(|text| number(&text));
        let (Some(used), Some(limit)) = (
            known("memory.usage_in_bytes")?,
            known("memory.limit_in_bytes")?,
        ) else {
            return Ok(false);
        };
        let most = LEFT.min(limit / LEFT_SHARE);
        if used > most || self.oom_killed() || self.forks_refused() > 0 {
            return Ok(false);
        }
        write(&memory.join("memory.max_usage_in_bytes"), "0")?;
        self.first.take();
        Ok(true)
    }

    /// Removes the groups, which must be empty. Removing them again does nothing.
    ///
    /// # Errors
    /// When something still lives in one.
    pub fn remove(&mut self) -> Result<(), CgroupError> {
        if self.removed {
            return Ok(());
        }
        for dir in self.directories() {
            let mut tries = 0_u32;
            loop {
                match fs::remove_dir(&dir) {
                    // A process that has ended is not quite gone for a moment.
                    Err(error) if is(&error, Errno::BUSY) && tries < 20 => {
                        tries = tries.saturating_add(1);
                        std::thread::sleep(Duration::from_micros(250));
                    }
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(CgroupError::file("remove", &dir)(error));
                    }
                    _ => break,
                }
            }
        }
        self.removed = true;
        Ok(())
    }
}
