#include "testing/batch_from_json.h"

#include <arrow/array/array_nested.h>
#include <arrow/json/from_string.h>

namespace millrace::testing {

std::shared_ptr<arrow::RecordBatch> BatchFromJson(const std::shared_ptr<arrow::Schema>& schema,
                                                  const std::string& rows) {
  const auto array = arrow::json::ArrayFromJSONString(arrow::struct_(schema->fields()), rows).ValueOrDie();
  return arrow::RecordBatch::FromStructArray(array).ValueOrDie()->ReplaceSchemaMetadata(nullptr);
}

}  // namespace millrace::testing
