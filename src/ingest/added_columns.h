/// `unknown_fields: add`: the members of rescued texts that have columns of their own in a table.
///
/// Values in, values out: which columns a table has is the table's business, and nothing here remembers more than the
/// caller says. What a column does not take stays in the rescued text, byte for byte, so no value is ever lost:
/// whatever columns there are, they and the rest together say what the text said.
///
/// Keys: only those of the record's own level, and only those that CanNameColumn(); of keys that differ in case alone
/// the first one seen has the column.
///
/// | the first value seen             | type    | the column takes                                                |
/// |----------------------------------|---------|-----------------------------------------------------------------|
/// | true, false                      | kBool   | true, false                                                     |
/// | a number without fraction and    | kInt64  | such numbers                                                    |
/// | exponent that an int64 holds     |         |                                                                 |
/// | another number                   | kDouble | numbers, if the double written with as many digits is the same; |
/// |                                  |         | whole ones only up to 2^53, as far as doubles hold them all     |
/// | a string                         | kString | strings                                                         |
/// | an object or an array            | kJson   | objects and arrays, as the text that they are                   |
/// | null, a whole number beyond      | none    |                                                                 |
/// | int64, a number that no double   |         |                                                                 |
/// | holds                            |         |                                                                 |
///
/// Where a writer's schema says what a field is (declared_fields.h), its column is of that type from the first value
/// on, and takes what a column of JSON takes; a field that is a text there is one, or JSON.
///
/// Every column takes null. The first values of one batch are judged together: whole numbers and others are a kDouble.
/// A key that occurs twice in a record stays in the rescued text of this record, as often as it occurs.
#pragma once

#include <arrow/array.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "ingest/declared_fields.h"

namespace millrace::ingest {

enum class AddedType : std::uint8_t { kBool, kInt64, kDouble, kString, kJson, kDeclared };

struct AddedColumn {
  std::string name;  ///< The key, exactly.
  AddedType type = AddedType::kString;
  std::shared_ptr<arrow::DataType> declared = nullptr;  ///< kDeclared only: as ColumnSpec has them.
  bool operator==(const AddedColumn&) const = default;
};

/// utf8 for kString and kJson.
std::shared_ptr<arrow::DataType> ArrowType(const AddedColumn& column);

/// 1 to 128 ASCII letters, digits, `_`, `-`, `@` and `$`, none of the names that Delta, Spark and we give columns of
/// their own. Everything else is a trap in some engine, or is written in more than one way.
bool CanNameColumn(std::string_view key);

/// The rescued texts of one batch, taken apart. Not thread-safe.
class RescuedFields {
 public:
  /// `declared`: null: nothing is.
  explicit RescuedFields(std::shared_ptr<const DeclaredFields> declared = nullptr);
  ~RescuedFields();

  /// The columns from now on, and the names that no new one can have. Names are compared without case. Columns that are
  /// taken, or given twice, are left out.
  void SetColumns(const std::vector<AddedColumn>& columns, const std::vector<std::string>& taken);
  const std::vector<AddedColumn>& columns() const;

  /// The keys of `rescued` that could have columns and have none, in the order of the rows. Texts that are not JSON
  /// objects are left alone, here and in Split(): they come from somebody's SQL.
  std::vector<AddedColumn> FindNew(const arrow::StringArray& rescued);

  struct Parts {
    arrow::ArrayVector columns;             ///< Of columns(), in order.
    std::shared_ptr<arrow::Array> rescued;  ///< What no column took; null: nothing.
  };
  /// Fails only when memory runs out.
  Result<Parts> Split(const arrow::StringArray& rescued);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::ingest
