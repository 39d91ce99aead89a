//! The limits of the number of clients, in total and per user.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};

use feedkit_core::UserId;

/// Counts clients.
#[derive(Debug)]
pub(super) struct Admission {
    max: usize,
    max_of_user: usize,
    present: Mutex<Present>,
}

#[derive(Debug, Default)]
struct Present {
    clients: usize,
    users: HashMap<UserId, usize>,
}

/// The place of one client, which it holds until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    user: Option<UserId>,
    /// Whether the maximum number of clients is reached without this one.
    pub(super) is_surplus: bool,
}

impl Admission {
    pub(super) fn new(max: usize, max_of_user: usize) -> Arc<Self> {
        Arc::new(Admission { max, max_of_user, present: Mutex::default() })
    }

    /// A place among all clients. A few more than the maximum get a place that [is
    /// surplus](Place::is_surplus), because a socket has to be open before it can be told why it is
    /// closed. `None` beyond those.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut present = self.present();
        let is_surplus = present.clients >= self.max;
        if present.clients >= self.max.saturating_add((self.max / 8).max(8)) {
            return None;
        }
        present.clients += 1;
        Some(Place { admission: Arc::clone(self), user: None, is_surplus })
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock()
    }
}

impl Place {
    /// Counts the client for `user`; `false` if that user has too many.
    pub(super) fn belongs_to(&mut self, user: &UserId) -> bool {
        debug_assert!(self.user.is_none(), "a client has one user");
        let mut present = self.admission.present();
        let count = present.users.entry_ref(user).or_insert(0);
        let has_room = *count < self.admission.max_of_user;
        if has_room {
            *count += 1;
            self.user = Some(user.clone());
        } else if *count == 0 {
            present.users.remove(user);
        }
        has_room
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut present = self.admission.present();
        present.clients -= 1;
        if let Some(user) = &self.user
            && let Some(count) = present.users.get_mut(user)
        {
            *count -= 1;
            if *count == 0 {
                present.users.remove(user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let admission = Admission::new(2, 1);
        let mut places: Vec<_> = std::iter::from_fn(|| admission.enter()).collect();
        assert_eq!(places.iter().filter(|p| p.is_surplus).count(), places.len() - 2);
        let user = UserId::new("u1").unwrap();
        assert!(places[0].belongs_to(&user));
        assert!(!places[1].belongs_to(&user));
        places.remove(0);
        assert!(places[0].belongs_to(&user));
        places.clear();
        assert!(admission.present().users.is_empty());
        assert!(!admission.enter().unwrap().is_surplus);
    }
}
