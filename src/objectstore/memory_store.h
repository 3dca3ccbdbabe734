/// A store in the memory of this process, gone when its last owner is: for what runs the real code over a few records
/// and leaves nothing behind.
#pragma once

#include <memory>

#include "objectstore/object_store.h"

namespace millrace::objectstore {

/// Empty. Keeps all that every store promises, but that nothing outlives the process. An upload is held whole before it
/// is visible. Files and uploads that it hands out live on without it.
std::shared_ptr<ObjectStore> MakeMemoryStore();

}  // namespace millrace::objectstore
