//! Things that are costly to make, and that one thread at a time can use.

use std::sync::{Mutex, PoisonError};

/// Idle ones wait here. There are never more than threads that use them at the same time.
pub struct Pool<T>(Mutex<Vec<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T> Pool<T> {
    /// Lends one to `work`; makes it if none is idle.
    pub fn lend<R, E>(
        &self,
        make: impl FnOnce() -> Result<T, E>,
        work: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<R, E> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut thing = match idle {
            Some(thing) => thing,
            None => make()?,
        };
        let result = work(&mut thing);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(thing);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_used_again() {
        let pool = Pool::default();
        let lend = |make: u32| pool.lend(|| Ok::<_, ()>(make), |thing| Ok(*thing));
        assert_eq!((lend(1), lend(2)), (Ok(1), Ok(1)));
        let both = pool.lend(|| Err(()), |one| pool.lend(|| Ok(7), |other| Ok((*one, *other))));
        assert_eq!(both, Ok((1, 7)), "two at a time are two");
    }
}
