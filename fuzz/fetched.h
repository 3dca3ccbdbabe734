/// Payloads as a decoder is given them.
#pragma once

#include <initializer_list>
#include <iterator>
#include <string_view>

#include "model/event_batch.h"

/// Records with the offsets 0, 1, ..., whose payloads outlive them.
inline millrace::model::FetchedRecords FetchedOf(std::initializer_list<std::string_view> payloads) {
  millrace::model::FetchedRecords fetched;
  fetched.source = {"fuzz", 0};
  for (const std::string_view payload : payloads) {
    millrace::model::RawRecord& record = fetched.records.emplace_back();
    record.offset = std::ssize(fetched.records) - 1;
    record.payload = payload;
  }
  return fetched;
}
