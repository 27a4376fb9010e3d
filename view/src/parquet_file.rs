//! Writes columns of records as a Parquet file; nothing else in the project knows the parquet crate.

use anyhow::{Context, bail};
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use serde_json::Value;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A column and its value in every row.
pub type Column = (String, Vec<Value>);

/// Writes `columns`, all of one length, to `path`. A column is boolean, whole (i64), double or text, whatever fits all its
/// values; every one may have nulls.
///
/// # Errors
/// For a file that can't be written.
pub fn write(path: &Path, columns: &[Column]) -> anyhow::Result<()> {
    let kinds: Vec<Physical> = columns.iter().map(|(_, values)| kind(values)).collect();
    let mut fields = Vec::with_capacity(columns.len());
    for ((name, _), &kind) in columns.iter().zip(&kinds) {
        let logical = (kind == Physical::BYTE_ARRAY).then_some(LogicalType::String);
        let field = Type::primitive_type_builder(name, kind)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build()?;
        fields.push(Arc::new(field));
    }
    let schema = Arc::new(Type::group_type_builder("records").with_fields(fields).build()?);
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::default()))?;
    let mut group = writer.next_row_group()?;
    for ((name, values), kind) in columns.iter().zip(kinds) {
        match kind {
            Physical::BOOLEAN => column::<BoolType>(&mut group, values, |value| value.as_bool())?,
            Physical::INT64 => column::<Int64Type>(&mut group, values, Value::as_i64)?,
            Physical::DOUBLE => column::<DoubleType>(&mut group, values, Value::as_f64)?,
            Physical::BYTE_ARRAY => column::<ByteArrayType>(&mut group, values, |value| Some(text(value)))?,
            other => bail!("{name}: no column is {other}"),
        }
    }
    group.close()?;
    writer.close()?;
    Ok(())
}

fn kind(values: &[Value]) -> Physical {
    let all = |fits: fn(&Value) -> bool| values.iter().all(|value| value.is_null() || fits(value));
    if values.iter().all(Value::is_null) {
        Physical::DOUBLE
    } else if all(Value::is_boolean) {
        Physical::BOOLEAN
    } else if all(Value::is_i64) {
        Physical::INT64
    } else if all(Value::is_number) {
        Physical::DOUBLE
    } else {
        Physical::BYTE_ARRAY
    }
}

fn text(value: &Value) -> ByteArray {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    ByteArray::from(text.into_bytes())
}

/// Writes the next column.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[Value],
    read: impl Fn(&Value) -> Option<T::T>,
) -> anyhow::Result<()> {
    let Some(mut writer) = group.next_column()? else { bail!("the schema has fewer columns") };
    // Level 1 is there, level 0 is null.
    let levels: Vec<i16> = values.iter().map(|value| i16::from(!value.is_null())).collect();
    let there: Vec<T::T> = values.iter().filter(|value| !value.is_null()).filter_map(read).collect();
    writer.typed::<T>().write_batch(&there, Some(&levels), None)?;
    writer.close()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use serde_json::json;

    #[test]
    fn columns_come_back_with_their_types() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("records.parquet");
        let columns: Vec<Column> = vec![
            ("seed".to_owned(), vec![json!(1), json!(2)]),
            ("a2a_us".to_owned(), vec![json!(1.5), json!(3)]),
            ("scheme".to_owned(), vec![json!("flat"), json!("dedup")]),
            ("valid".to_owned(), vec![json!(true), json!(false)]),
            ("problem".to_owned(), vec![Value::Null, json!("late")]),
            ("lateness".to_owned(), vec![Value::Null, Value::Null]),
        ];
        write(&path, &columns).expect("written");
        let reader = SerializedFileReader::new(File::open(&path).expect("a file")).expect("Parquet");
        let rows: Vec<String> =
            reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row").to_string()).collect();
        assert_eq!(
            rows,
            [
                r#"{seed: 1, a2a_us: 1.5, scheme: "flat", valid: true, problem: null, lateness: null}"#,
                r#"{seed: 2, a2a_us: 3.0, scheme: "dedup", valid: false, problem: "late", lateness: null}"#,
            ]
        );
    }
}
