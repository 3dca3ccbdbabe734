#include "objectstore/counted_store.h"
#include "objectstore/local_store.h"
#include "objectstore/object_store.h"
#include "objectstore/prefixed_store.h"
#include "objectstore/s3/s3_store.h"

namespace millrace::objectstore {

std::string_view ToString(RequestKind kind) {
  switch (kind) {
    case RequestKind::kPut:
      return "put";
    case RequestKind::kMultipartStart:
      return "multipart_start";
    case RequestKind::kMultipartPart:
      return "multipart_part";
    case RequestKind::kMultipartEnd:
      return "multipart_end";
    case RequestKind::kGet:
      return "get";
    case RequestKind::kHead:
      return "head";
    case RequestKind::kList:
      return "list";
    case RequestKind::kDelete:
      return "delete";
  }
  return "other";
}

Status ObjectStore::DeleteMany(const std::vector<std::string>& keys) {
  for (const auto& key : keys) RETURN_NOT_OK(Delete(key));
  return Status::OK();
}

std::optional<std::string> FolderOf(const std::string& uri) {
  const auto colon = uri.find("://");
  if (colon == std::string::npos) return uri;
  if (uri.substr(0, colon) != "file") return std::nullopt;
  std::string path = uri.substr(colon + 3);
  if (path.starts_with("localhost/")) path.erase(0, std::string_view("localhost").size());
  return path;
}

Result<std::shared_ptr<ObjectStore>> OpenStore(const std::string& uri, IfMissing if_missing, const S3Settings& s3) {
  const auto colon = uri.find("://");
  if (const auto path = FolderOf(uri)) {
    if (colon != std::string::npos && !path->starts_with("/")) {
      return InvalidInput("a file URI needs an absolute path, as in file:///data: '{}'", uri);
    }
    ASSIGN_OR_RETURN(auto folder, OpenLocalStore(*path, if_missing));
    return Counted(std::move(folder));
  }
  const std::string scheme = uri.substr(0, colon);
  const std::string rest = uri.substr(colon + 3);
  if (scheme == "s3" || scheme == "s3a") {
    const auto slash = rest.find('/');
    const std::string prefix = slash == std::string::npos ? "" : rest.substr(slash + 1);
    return s3::OpenS3Store(rest.substr(0, slash), prefix, if_missing, s3);
  }
  return Unsupported("storage scheme '{}' of '{}' is not supported yet; use a folder or s3://", scheme, uri);
}

std::shared_ptr<ObjectStore> Below(std::shared_ptr<ObjectStore> store, const std::string& prefix) {
  return std::make_shared<PrefixedStore>(std::move(store), prefix);
}

}  // namespace millrace::objectstore
