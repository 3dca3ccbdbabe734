/// The record's key: the value of a field of the event.
#pragma once

#include <string>

#include "gateway/batch.h"
#include "ingest/json/field_scan.h"

namespace millrace::gateway {

/// Not thread-safe.
class KeyField {
 public:
  /// Sets the event's key if `rules` name a field, and its payload is JSON and has it. False: the event is rejected
  /// (invalid_key): the field is an object or an array.
  bool Take(const ReadRules& rules, Event& event, Batch& batch);

 private:
  ingest::FieldScan scan_;
  std::string scratch_;
};

/// What a scan of the payload has found, likewise.
bool TakeKey(ingest::FieldScan::Found found, const ReadRules& rules, Event& event, Batch& batch);

}  // namespace millrace::gateway
