//! The members of a group, and which partitions each of them reads.

use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Poll, Waker};

use tokio::sync::mpsc;

use crate::Partition;
use crate::source::RevokeGuard;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum GroupName {
    Shared(String),
    /// The group of a single broadcast reader, named after it.
    Own(u64),
}

/// The members of a group and the partitions they hold.
///
/// The members alone determine which member should hold a partition (`target`). The member that
/// holds it (`holder`) changes only when the source tells the new member so, and when no other
/// member holds it.
#[derive(Debug, Default)]
pub(super) struct Group {
    members: BTreeSet<u64>,
    target: BTreeMap<Partition, u64>,
    holder: BTreeMap<Partition, u64>,
    /// Partitions that are being revoked, each with the receiver that ends with its guard.
    revoked: Vec<(BTreeSet<Partition>, mpsc::Receiver<()>)>,
}

/// What the source tells a member.
pub(super) enum Told {
    Lost,
    Revoked(BTreeSet<Partition>, RevokeGuard),
    Assigned(Partition),
}

impl Group {
    pub(super) fn join(&mut self, member: u64, partitions: usize) {
        self.members.insert(member);
        self.share_out(partitions);
    }

    pub(super) fn leave(&mut self, member: u64, partitions: usize) {
        self.members.remove(&member);
        // A guard that is still held keeps its partitions, even though its reader is gone.
        let kept: BTreeSet<_> = self.revoked.iter().flat_map(|(p, _)| p).copied().collect();
        self.holder.retain(|p, holder| *holder != member || kept.contains(p));
        self.share_out(partitions);
    }

    pub(super) fn expel(&mut self, member: u64) {
        if self.members.remove(&member) {
            let held: BTreeSet<_> =
                self.holder.iter().filter(|(_, h)| **h == member).map(|(p, _)| *p).collect();
            self.revoked.retain(|(partitions, _)| partitions.is_disjoint(&held));
            self.holder.retain(|_, holder| *holder != member);
            let partitions = self.target.len();
            self.share_out(partitions);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.revoked.is_empty()
    }

    pub(super) fn holds(&self, member: u64, partition: Partition) -> bool {
        self.holder.get(&partition) == Some(&member)
    }

    /// What to tell `member` next, if anything. Dropping a guard wakes `waker`.
    pub(super) fn tell(&mut self, member: u64, waker: &Waker) -> Option<Told> {
        if !self.members.contains(&member) {
            return Some(Told::Lost);
        }
        self.take_back(waker);
        let revoking = |p: &Partition| self.revoked.iter().any(|(partitions, _)| partitions.contains(p));
        let moved = |(p, holder): &(&Partition, &u64)| {
            **holder == member && self.target.get(p) != Some(&member) && !revoking(p)
        };
        let taken: BTreeSet<_> = self.holder.iter().filter(moved).map(|(p, _)| *p).collect();
        if !taken.is_empty() {
            let (guard, dropped) = RevokeGuard::new();
            self.revoked.push((taken.clone(), dropped));
            return Some(Told::Revoked(taken, guard));
        }
        let free = |(p, target): &(&Partition, &u64)| **target == member && !self.holder.contains_key(*p);
        let partition = *self.target.iter().find(free)?.0;
        self.holder.insert(partition, member);
        Some(Told::Assigned(partition))
    }

    /// Frees the partitions whose guards were dropped.
    fn take_back(&mut self, waker: &Waker) {
        let holder = &mut self.holder;
        self.revoked.retain_mut(|(partitions, dropped)| {
            let held = matches!(dropped.poll_recv(&mut Context::from_waker(waker)), Poll::Pending);
            if !held {
                holder.retain(|p, _| !partitions.contains(p));
            }
            held
        });
    }

    /// Gives each member an equal share, and moves as few partitions as possible.
    pub(super) fn share_out(&mut self, partitions: usize) {
        let count = self.members.len();
        if count == 0 {
            return self.target.clear();
        }
        let mut room: BTreeMap<u64, usize> = self
            .members
            .iter()
            .enumerate()
            .map(|(i, m)| (*m, partitions / count + usize::from(i < partitions % count)))
            .collect();
        let mut homeless = Vec::new();
        for partition in (0..partitions).map(|p| Partition(p as u32)) {
            let present = self.target.get(&partition);
            match present.and_then(|m| room.get_mut(m)).filter(|room| **room > 0) {
                Some(room) => *room -= 1,
                None => homeless.push(partition),
            }
        }
        for partition in homeless {
            if let Some((member, room)) = room.iter_mut().find(|(_, room)| **room > 0) {
                *room -= 1;
                self.target.insert(partition, *member);
            }
        }
    }
}
