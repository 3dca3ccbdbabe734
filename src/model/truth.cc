#include "model/truth.h"

namespace millrace::model {

std::shared_ptr<arrow::Schema> TruthSchema() {
  const auto time = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  return arrow::schema({arrow::field("number", arrow::int64(), false), arrow::field("event_id", arrow::utf8(), false),
                        arrow::field("key", arrow::utf8(), false), arrow::field("event_time", time, false),
                        arrow::field("sent_at", time, false), arrow::field("late_us", arrow::int64(), false),
                        arrow::field("clock_error_us", arrow::int64(), false),
                        arrow::field("fate", arrow::utf8(), false), arrow::field("duplicate_of", arrow::int64()),
                        arrow::field("malformation", arrow::utf8()), arrow::field("sensor_fault", arrow::utf8()),
                        arrow::field("outcome", arrow::utf8(), false), arrow::field("refusal", arrow::utf8()),
                        arrow::field("delivery", arrow::utf8(), false), arrow::field("payload", arrow::binary())});
}

}  // namespace millrace::model
