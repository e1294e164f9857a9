//! The shape of what a document is made of: texts, numbers, lists.

use crate::number::Number;

use super::json::Json;
use super::{Shape, Stop};

impl Shape for String {
    fn blank() -> Self {
        Self::new()
    }

    fn read(&mut self, json: &mut Json<'_>) -> Result<(), Stop> {
        *self = json.string()?;
        Ok(())
    }
}

impl Shape for bool {
    fn blank() -> Self {
        false
    }

    fn read(&mut self, json: &mut Json<'_>) -> Result<(), Stop> {
        *self = json.boolean()?;
        Ok(())
    }
}

impl Shape for u64 {
    fn blank() -> Self {
        0
    }

    fn read(&mut self, json: &mut Json<'_>) -> Result<(), Stop> {
        *self = json.integer()?;
        Ok(())
    }
}

impl Shape for u32 {
    fn blank() -> Self {
        0
    }

    fn read(&mut self, json: &mut Json<'_>) -> Result<(), Stop> {
        let value = json.integer()?;
        *self = Self::try_from(value).map_err(|_| json.stop(&"the number is too large"))?;
        Ok(())
    }
}

impl Shape for Number {
    fn blank() -> Self {
        Self::ZERO
    }

    fn read(&mut self, json: &mut Json<'_>) -> Result<(), Stop> {
        let text = json.number()?;
        *self = Self::parse(text).ok_or_else(|| json.stop(&"the number is too large"))?;
        Ok(())
    }
}

impl<T: Shape> Shape for Option<T> {
    fn blank() -> Self {
        None
    }

    fn read(&mut self, json: &mut Json<'_>) -> Result<(), Stop> {
        if json.is_null() { Ok(()) } else { self.insert(T::blank()).read(json) }
    }
}

impl<T: Shape> Shape for Box<T> {
    fn blank() -> Self {
        Self::new(T::blank())
    }

    fn read(&mut self, json: &mut Json<'_>) -> Result<(), Stop> {
        (**self).read(json)
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn blank() -> Self {
        Self::new()
    }

    fn read(&mut self, json: &mut Json<'_>) -> Result<(), Stop> {
        json.list(&mut |json| {
            let mut item = T::blank();
            item.read(json)?;
            self.push(item);
            Ok(())
        })
    }
}
