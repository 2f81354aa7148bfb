//! The inodes that the kernel knows of one mount: names below names. What they stand for is looked
//! up anew each time, because nothing here is believed for longer than one request.

use std::collections::HashMap;

use rumi_policy::AbsPath;

/// The root directory, as FUSE numbers it.
pub(super) const ROOT: u64 = 1;
/// Inodes beyond which the kernel is asked to forget the oldest files.
const MANY: usize = 8_192;
/// Inodes beyond which nothing new is looked up.
const MOST: usize = 32_768;
/// Files that the kernel is asked to forget at once.
const FORGOTTEN_AT_ONCE: usize = 1_024;

/// What an inode stands for. Another file under the same name is another inode, so that no
/// page, open file or backing of the one is ever taken for the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    /// A directory above granted ones, which exists only here.
    Synthetic,
    /// Something of the host.
    Host {
        /// Device and inode on the host.
        id: HostId,
        /// Whether it is a directory.
        directory: bool,
        /// Whether the kernel may read it by itself for whoever looked it up. The kernel
        /// does not mix both ways on one inode.
        passthrough: bool,
    },
}

/// A file of the host, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct HostId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// The ways in which one name can be known at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Slot {
    Synthetic,
    Copied,
    Passthrough,
}

impl Slot {
    const ALL: [Self; 3] = [Self::Synthetic, Self::Copied, Self::Passthrough];

    fn of(thing: Thing) -> Self {
        match thing {
            Thing::Synthetic => Self::Synthetic,
            Thing::Host {
                passthrough: false, ..
            } => Self::Copied,
            Thing::Host {
                passthrough: true, ..
            } => Self::Passthrough,
        }
    }
}

#[derive(Debug)]
struct Node {
    parent: u64,
    name: Box<str>,
    thing: Thing,
    lookups: u64,
    open: u32,
}

/// All inodes of one mount.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: HashMap<u64, Node>,
    /// The inode that a name stands for now. What is one thing to one component can be another to
    /// its neighbour, and neither must lose its own when the other looks.
    names: HashMap<(u64, Box<str>, Slot), u64>,
    next: u64,
    forgetting: bool,
}

/// There are too many inodes, and the kernel does not let go of any.
#[derive(Debug)]
pub(super) struct Full;

impl Tree {
    pub(super) fn new() -> Self {
        Self {
            nodes: HashMap::new(),
            names: HashMap::new(),
            next: ROOT + 1,
            forgetting: false,
        }
    }

    /// Where an inode lies now; nothing when its name has become another's or was taken away.
    pub(super) fn path(&self, inode: u64) -> Option<AbsPath> {
        let mut names = Vec::new();
        let mut at = inode;
        while at != ROOT {
            let node = self.nodes.get(&at)?;
            let key = (node.parent, node.name.clone(), Slot::of(node.thing));
            if self.names.get(&key) != Some(&at) {
                return None;
            }
            names.push(&*node.name);
            at = node.parent;
        }
        if names.is_empty() {
            return "/".parse().ok();
        }
        names.reverse();
        format!("/{}", names.join("/")).parse().ok()
    }

    pub(super) fn thing(&self, inode: u64) -> Option<Thing> {
        if inode == ROOT {
            return Some(Thing::Synthetic);
        }
        self.nodes.get(&inode).map(|node| node.thing)
    }

    /// The inode of what was found under a name. The kernel remembers it until it says otherwise.
    pub(super) fn remember(&mut self, parent: u64, name: &str, thing: Thing) -> Result<u64, Full> {
        let key = (parent, name.into(), Slot::of(thing));
        if let Some(known) = self.names.get(&key)
            && let Some(node) = self.nodes.get_mut(known)
            && node.thing == thing
        {
            node.lookups += 1;
            return Ok(*known);
        }
        if self.nodes.len() >= MOST {
            return Err(Full);
        }
        let inode = self.next;
        self.next += 1;
        let node = Node {
            parent,
            name: name.into(),
            thing,
            lookups: 1,
            open: 0,
        };
        self.nodes.insert(inode, node);
        self.names.insert(key, inode);
        Ok(inode)
    }

    pub(super) fn forget(&mut self, inode: u64, lookups: u64) {
        let Some(node) = self.nodes.get_mut(&inode) else {
            return;
        };
        node.lookups = node.lookups.saturating_sub(lookups);
        if node.lookups == 0
            && let Some(node) = self.nodes.remove(&inode)
        {
            self.unname(inode, node.parent, node.name, node.thing);
        }
    }

    fn unname(&mut self, inode: u64, parent: u64, name: Box<str>, thing: Thing) {
        let key = (parent, name, Slot::of(thing));
        if self.names.get(&key) == Some(&inode) {
            self.names.remove(&key);
        }
    }

    /// A name was taken away; what is open under it stays known.
    pub(super) fn removed(&mut self, parent: u64, name: &str) {
        for slot in Slot::ALL {
            self.names.remove(&(parent, name.into(), slot));
        }
    }

    /// A name has moved, and the kernel moves its inode along.
    pub(super) fn renamed(&mut self, from: (u64, &str), to: (u64, &str)) {
        self.removed(to.0, to.1);
        for slot in Slot::ALL {
            let key = (from.0, from.1.into(), slot);
            if let Some(inode) = self.names.remove(&key)
                && let Some(node) = self.nodes.get_mut(&inode)
            {
                node.parent = to.0;
                node.name = to.1.into();
                self.names.insert((to.0, to.1.into(), slot), inode);
            }
        }
    }

    pub(super) fn opened(&mut self, inode: u64) {
        if let Some(node) = self.nodes.get_mut(&inode) {
            node.open += 1;
        }
    }

    pub(super) fn closed(&mut self, inode: u64) {
        if let Some(node) = self.nodes.get_mut(&inode) {
            node.open = node.open.saturating_sub(1);
        }
    }

    /// The oldest files that nobody has open, when there are too many inodes and nobody else is
    /// at it already: the kernel forgets only what it is told to, or what it has no memory for.
    pub(super) fn oldest_idle(&mut self) -> Option<Vec<(u64, Box<str>)>> {
        if self.forgetting || self.nodes.len() < MANY {
            return None;
        }
        let idle = |node: &Node| {
            node.open == 0
                && !matches!(
                    node.thing,
                    Thing::Host {
                        directory: true,
                        ..
                    }
                )
        };
        let mut oldest: Vec<u64> = self
            .nodes
            .iter()
            .filter(|(_, node)| idle(node))
            .map(|(inode, _)| *inode)
            .collect();
        oldest.sort_unstable();
        oldest.truncate(FORGOTTEN_AT_ONCE);
        self.forgetting = true;
        let named = oldest
            .iter()
            .filter_map(|inode| self.nodes.get(inode))
            .map(|node| (node.parent, node.name.clone()));
        Some(named.collect())
    }

    /// The kernel was told.
    pub(super) fn told(&mut self) {
        self.forgetting = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64) -> Thing {
        Thing::Host {
            id: HostId { device: 1, inode },
            directory: false,
            passthrough: false,
        }
    }

    fn path(tree: &Tree, inode: u64) -> Option<String> {
        tree.path(inode).map(|path| path.to_string())
    }

    #[test]
    fn names_are_found_moved_and_taken_away() {
        let mut tree = Tree::new();
        let data = tree.remember(ROOT, "data", Thing::Synthetic).unwrap();
        let a = tree.remember(data, "a", file(7)).unwrap();
        assert_eq!(tree.remember(data, "a", file(7)).unwrap(), a);
        assert_eq!(path(&tree, a).as_deref(), Some("/data/a"));
        tree.renamed((data, "a"), (ROOT, "b"));
        assert_eq!(path(&tree, a).as_deref(), Some("/b"));
        tree.removed(ROOT, "b");
        assert_eq!(path(&tree, a), None);
        tree.forget(a, 1);
        assert!(tree.thing(a).is_some());
        tree.forget(a, 1);
        assert!(tree.thing(a).is_none());
    }

    #[test]
    fn another_file_under_the_same_name_is_another_inode() {
        let mut tree = Tree::new();
        let old = tree.remember(ROOT, "a", file(7)).unwrap();
        let new = tree.remember(ROOT, "a", file(8)).unwrap();
        assert_ne!(old, new);
        assert_eq!(path(&tree, old), None);
        assert_eq!(path(&tree, new).as_deref(), Some("/a"));
        // The old one goes without taking the new one's name along.
        tree.forget(old, 1);
        assert_eq!(path(&tree, new).as_deref(), Some("/a"));
    }

    #[test]
    fn the_table_stays_small_whatever_is_looked_up() {
        let mut tree = Tree::new();
        for number in 0..MOST {
            tree.remember(ROOT, &number.to_string(), file(number as u64))
                .unwrap();
        }
        assert!(tree.remember(ROOT, "more", file(0)).is_err());
        let oldest = tree.oldest_idle().unwrap();
        assert_eq!(oldest.len(), FORGOTTEN_AT_ONCE);
        assert!(tree.oldest_idle().is_none(), "one at a time");
        for inode in ROOT + 1..ROOT + 1 + FORGOTTEN_AT_ONCE as u64 {
            tree.forget(inode, 1);
        }
        assert!(tree.remember(ROOT, "more", file(0)).is_ok());
        assert_eq!(tree.names.len(), tree.nodes.len());
    }
}
