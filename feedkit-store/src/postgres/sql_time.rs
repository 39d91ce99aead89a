//! Times as PostgreSQL's `timestamptz`: microseconds since 2000.

use bytes::{BufMut, BytesMut};
use feedkit_core::Timestamp;
use postgres_types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// 2000-01-01 in milliseconds since 1970.
const YEAR_2000: i64 = 946_684_800_000;
/// The first and last microseconds that a `timestamptz` can hold.
const RANGE: std::ops::RangeInclusive<i64> = -211_813_488_000_000_000..=9_223_371_331_199_999_999;

/// A time in a table. A time that `timestamptz` cannot hold is stored as the nearest one that it
/// can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SqlTime(pub(super) Timestamp);

impl SqlTime {
    /// Microseconds since 2000.
    pub(super) fn micros(self) -> i64 {
        let micros = self.0.as_millis().saturating_sub(YEAR_2000).saturating_mul(1000);
        micros.clamp(*RANGE.start(), *RANGE.end())
    }
}

impl ToSql for SqlTime {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_i64(self.micros());
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for SqlTime {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        let millis = micros.div_euclid(1000).saturating_add(YEAR_2000);
        Ok(SqlTime(Timestamp::from_millis(millis)))
    }

    accepts!(TIMESTAMPTZ);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_and_the_unholdable_become_the_nearest() {
        for millis in [0, -1, 1_767_225_600_123, -62_135_596_800_000, Timestamp::MAX.as_millis()] {
            let time = SqlTime(Timestamp::from_millis(millis));
            let mut bytes = BytesMut::new();
            time.to_sql(&Type::TIMESTAMPTZ, &mut bytes).unwrap();
            assert_eq!(SqlTime::from_sql(&Type::TIMESTAMPTZ, &bytes).unwrap(), time);
        }
        for millis in [i64::MIN, i64::MAX] {
            assert!(RANGE.contains(&SqlTime(Timestamp::from_millis(millis)).micros()));
        }
    }
}
