//! Comparing what a history stores with what its raw events say.

use std::fmt;

use crate::Partition;
use crate::inspect::Verification;

/// Maximum number of differences that are described. All of them are counted.
pub const MAX_DIFFERENCES: usize = 100;

/// Which sums are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    /// What happened to a post, by kind, within an hour. The key is hour, post and kind.
    Hourly,
    /// What happened to a post, by kind. The key is post and kind.
    Total,
    /// How many users like a post. The key is the post.
    Likers,
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sum::Hourly => "hourly sum",
            Sum::Total => "total",
            Sum::Likers => "number of users who like",
        })
    }
}

/// The differences found so far. A backend finds them, and this type describes and counts them.
#[derive(Debug, Default)]
pub struct Differences {
    told: Vec<String>,
    count: u64,
}

impl Differences {
    /// Adds a sum if the stored value differs from the count of the raw events and the baseline.
    pub fn sum(&mut self, what: Sum, key: impl fmt::Display, counted: i64, stored: i64) {
        if counted != stored {
            self.add(format_args!("{what} {key}: counted {counted}, stored {stored}"));
        }
    }

    /// Adds a post whose stored author is not the user whose event published it.
    pub fn author(&mut self, post: impl fmt::Display, published_by: Option<&str>, stored: Option<&str>) {
        let [published_by, stored] = [published_by, stored].map(|user| user.unwrap_or("nobody"));
        self.add(format_args!("author of {post}: published by {published_by}, stored {stored}"));
    }

    /// Adds a place where a partition's journal has a hole or overlaps: up to `reached` it is
    /// contiguous, and its next entry begins at `next`.
    pub fn journal(&mut self, partition: Partition, reached: i64, next: i64) {
        self.add(format_args!("journal of partition {partition}: reaches {reached}, goes on at {next}"));
    }

    /// Counts differences that the backend has found, but has not read one by one.
    pub fn untold(&mut self, count: u64) {
        self.count += count;
    }

    /// The result of verifying `events` raw events and `posts` posts.
    pub fn into_verification(self, events: u64, posts: u64) -> Verification {
        Verification { events, posts, differences: self.told, difference_count: self.count }
    }

    fn add(&mut self, difference: fmt::Arguments<'_>) {
        self.count += 1;
        if self.told.len() < MAX_DIFFERENCES {
            self.told.push(difference.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sums_are_no_difference_and_the_others_are_told_and_counted() {
        let mut differences = Differences::default();
        differences.sum(Sum::Total, "p like", 3, 3);
        differences.sum(Sum::Total, "p like", 3, 4);
        differences.author("p", Some("u"), None);
        differences.journal(Partition(1), 5, 7);
        differences.untold(2);
        for n in 0..MAX_DIFFERENCES as i64 {
            differences.sum(Sum::Likers, "q", n, -1);
        }
        let found = differences.into_verification(9, 2);
        assert_eq!((found.events, found.posts), (9, 2));
        assert_eq!(found.difference_count, 5 + MAX_DIFFERENCES as u64);
        assert_eq!(found.differences.len(), MAX_DIFFERENCES);
        assert_eq!(found.differences[0], "total p like: counted 3, stored 4");
        assert_eq!(found.differences[1], "author of p: published by u, stored nobody");
        assert_eq!(found.differences[2], "journal of partition 1: reaches 5, goes on at 7");
    }
}
