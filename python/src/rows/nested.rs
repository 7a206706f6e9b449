//! Arrays, composites, ranges, multiranges and hstore: values that hold values.

use std::ops::Range;

use merganser::arrow::array::{Array, AsArray, StructArray};
use merganser::arrow::datatypes::Field;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::{Column, Convert, Scope};

impl<'a, 'py: 'a> Scope<'a, 'py> {
    pub(super) fn list(self, item: &'a Field, array: &'a dyn Array) -> PyResult<Convert<'a, 'py>> {
        let (values, bounds) = items_of(array);
        let items = self.column(item, values)?;
        Ok(Box::new(move |row| {
            let list = PyList::empty(self.py);
            for item in bounds(row) {
                list.append(items.value(item)?)?;
            }
            Ok(list.into_any())
        }))
    }

    pub(super) fn composite(self, array: &'a StructArray) -> PyResult<Convert<'a, 'py>> {
        let names = PyTuple::new(self.py, array.fields().iter().map(|field| field.name()))?;
        let row_type = self.makers.row_type.bind(self.py);
        let row_type = row_type.call1((intern!(self.py, "Composite"), names))?;
        let fields = self.children(array)?;
        Ok(Box::new(move |row| {
            let values = fields
                .iter()
                .map(|field| field.value(row))
                .collect::<PyResult<Vec<_>>>()?;
            row_type.call1(PyTuple::new(self.py, values)?)
        }))
    }

    fn children(self, array: &'a StructArray) -> PyResult<Vec<Column<'a, 'py>>> {
        let fields = array.fields().iter().zip(array.columns());
        fields
            .map(|(field, child)| self.column(field, child.as_ref()))
            .collect()
    }

    pub(super) fn range(self, array: &'a StructArray) -> PyResult<Convert<'a, 'py>> {
        let range = self.makers.range.bind(self.py);
        let children = self.children(array)?;
        let [lower, upper, lower_inclusive, upper_inclusive, empty] =
            <[Column<'_, '_>; 5]>::try_from(children).map_err(|children| {
                let message = format!("a range of {} fields instead of 5", children.len());
                self.data_error(&message, None)
            })?;
        Ok(Box::new(move |row| {
            if empty.value(row)?.is_truthy()? {
                return range.call1((self.py.None(), self.py.None(), intern!(self.py, ""), true));
            }
            let bounds = match (
                lower_inclusive.value(row)?.is_truthy()?,
                upper_inclusive.value(row)?.is_truthy()?,
            ) {
                (true, true) => intern!(self.py, "[]"),
                (true, false) => intern!(self.py, "[)"),
                (false, true) => intern!(self.py, "(]"),
                (false, false) => intern!(self.py, "()"),
            };
            range.call1((lower.value(row)?, upper.value(row)?, bounds, false))
        }))
    }

    pub(super) fn map(self, array: &'a dyn Array) -> PyResult<Convert<'a, 'py>> {
        let map = array.as_map();
        let offsets = map.value_offsets();
        let [keys, values] = <[Column<'_, '_>; 2]>::try_from(self.children(map.entries())?)
            .map_err(|_| self.data_error("a map without keys and values", None))?;
        Ok(Box::new(move |row| {
            let dict = PyDict::new(self.py);
            for item in offsets[row] as usize..offsets[row + 1] as usize {
                dict.set_item(keys.value(item)?, values.value(item)?)?;
            }
            Ok(dict.into_any())
        }))
    }
}

/// Which items a row has.
type Bounds<'a> = Box<dyn Fn(usize) -> Range<usize> + 'a>;

/// The items of a list array of any kind, and which of them a row has.
fn items_of(array: &dyn Array) -> (&dyn Array, Bounds<'_>) {
    if let Some(list) = array.as_list_opt::<i32>() {
        let offsets = list.value_offsets();
        let bounds = |row| offsets[row] as usize..offsets[row + 1] as usize;
        return (list.values().as_ref(), Box::new(bounds));
    }
    if let Some(list) = array.as_list_opt::<i64>() {
        let offsets = list.value_offsets();
        let bounds = |row| offsets[row] as usize..offsets[row + 1] as usize;
        return (list.values().as_ref(), Box::new(bounds));
    }
    let list = array.as_fixed_size_list();
    let size = list.value_length() as usize;
    let bounds = move |row| {
        let start = list.value_offset(row) as usize;
        start..start + size
    };
    (list.values().as_ref(), Box::new(bounds))
}
