//! One component's counts on disk: a table of fixed places, each changed where it is.
//!
//! A place is 1 KiB and never crosses a page, so that the kernel has taken all of a change or nothing of it whenever the
//! broker is killed. The first place says how many follow: a file that was cut is not taken for one that counted less.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
};

use rumi_policy::{ComponentId, PermissionName, Uses};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A page is a multiple of it.
const PLACE: usize = 1024;

/// What the first place says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    component: String,
    permissions: usize,
}

/// What each other place says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    permission: String,
    uses: Uses,
}

/// The open file, and what it says.
#[derive(Debug)]
pub(super) struct Table {
    component: ComponentId,
    file: Arc<File>,
    rows: Vec<(PermissionName, Uses)>,
}

impl Table {
    /// Reads the file, or makes it where there is none.
    pub(super) fn open(path: &Path, component: &ComponentId) -> io::Result<Self> {
        if !path.try_exists()? {
            return Self::make(path, component);
        }
        let file = File::options().read(true).write(true).open(path)?;
        let rows = read(&fs::read(path)?, component)?;
        Ok(Self {
            component: component.clone(),
            file: Arc::new(file),
            rows,
        })
    }

    /// Makes the file, in the place of one that may be there.
    pub(super) fn make(path: &Path, component: &ComponentId) -> io::Result<Self> {
        let temporary = path.with_extension("new");
        let file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)?;
        let table = Self {
            component: component.clone(),
            file: Arc::new(file),
            rows: Vec::new(),
        };
        table.write_head(0)?;
        table.file.sync_all()?;
        fs::rename(&temporary, path)?;
        Ok(table)
    }

    pub(super) fn rows(&self) -> &[(PermissionName, Uses)] {
        &self.rows
    }

    pub(super) fn get(&self, permission: &PermissionName) -> Option<&Uses> {
        let row = self.rows.iter().find(|(name, _)| name == permission)?;
        Some(&row.1)
    }

    /// Says something else of a permission. When this fails, what was said before still counts.
    pub(super) fn set(&mut self, permission: &PermissionName, uses: Uses) -> io::Result<()> {
        let at = self.rows.iter().position(|(name, _)| name == permission);
        let place = at.unwrap_or(self.rows.len()) + 1;
        let row = Row {
            permission: permission.to_string(),
            uses,
        };
        write(&self.file, place, &row)?;
        match at.and_then(|at| self.rows.get_mut(at)) {
            Some((_, uses)) => *uses = row.uses,
            None => {
                // The row is there before it is announced; one that was not announced is not read.
                self.write_head(place)?;
                self.file.sync_all()?;
                self.rows.push((permission.clone(), row.uses));
            }
        }
        Ok(())
    }

    /// The file, for whoever waits until it is on the disk.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Puts another file in the place of this one, which a test may not be able to write.
    #[cfg(test)]
    pub(super) fn put(&mut self, file: Arc<File>) -> Arc<File> {
        std::mem::replace(&mut self.file, file)
    }

    fn write_head(&self, permissions: usize) -> io::Result<()> {
        let component = self.component.to_string();
        let head = Head {
            component,
            permissions,
        };
        write(&self.file, 0, &head)
    }
}

fn write(file: &File, place: usize, value: &impl Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(value)?;
    if bytes.len() >= PLACE {
        return Err(invalid("what is counted does not fit its place"));
    }
    bytes.resize(PLACE - 1, b' ');
    bytes.push(b'\n');
    let at = u64::try_from(place.saturating_mul(PLACE)).unwrap_or(u64::MAX);
    file.write_all_at(&bytes, at)
}

fn read(bytes: &[u8], component: &ComponentId) -> io::Result<Vec<(PermissionName, Uses)>> {
    let mut places = bytes.chunks(PLACE);
    let head: Head = parse(places.next().unwrap_or_default())?;
    if head.component != component.as_str() {
        return Err(invalid("it is another component's"));
    }
    let mut rows: Vec<(PermissionName, Uses)> = Vec::new();
    for _ in 0..head.permissions {
        let row: Row = parse(places.next().unwrap_or_default())?;
        let name: PermissionName = row.permission.parse().map_err(invalid)?;
        if rows.iter().any(|(known, _)| *known == name) {
            return Err(invalid("a permission stands there twice"));
        }
        rows.push((name, row.uses));
    }
    Ok(rows)
}

fn parse<T: DeserializeOwned>(place: &[u8]) -> io::Result<T> {
    if place.len() != PLACE {
        return Err(invalid("it is shorter than it says"));
    }
    Ok(serde_json::from_slice(place)?)
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
