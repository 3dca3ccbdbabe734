/// A folder as a store: put-if-absent by link(2), durable by fsync of the file and its folder.
#pragma once

#include <memory>
#include <string>

#include "objectstore/object_store.h"

namespace millrace::objectstore {

/// As OpenStore() with a path, relative or absolute; its errors too. The store: any thread.
Result<std::shared_ptr<ObjectStore>> OpenLocalStore(const std::string& folder, IfMissing if_missing);

}  // namespace millrace::objectstore
