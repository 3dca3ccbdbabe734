#include <algorithm>
#include <initializer_list>
#include <map>
#include <utility>
#include <vector>

#include "ingest/avro/resolution_internal.h"

namespace millrace::ingest::avro {
namespace {

std::string_view LastPart(std::string_view full_name) { return full_name.substr(full_name.rfind('.') + 1); }

// Whether values of `writer` may be read as `reader`, looking no deeper than their own types. Neither is a union.
bool Matches(const Schema& writer, const Schema& reader) {
  const auto is_one_of = [&](std::initializer_list<Type> types) {
    return std::find(types.begin(), types.end(), reader.type) != types.end();
  };
  switch (writer.type) {
    case Type::kInt:
      return is_one_of({Type::kInt, Type::kLong, Type::kFloat, Type::kDouble});
    case Type::kLong:
      return is_one_of({Type::kLong, Type::kFloat, Type::kDouble});
    case Type::kFloat:
      return is_one_of({Type::kFloat, Type::kDouble});
    case Type::kString:
    case Type::kBytes:
      return is_one_of({Type::kString, Type::kBytes});
    case Type::kFixed:
      return reader.type == Type::kFixed && reader.size == writer.size && HasSameName(writer, reader);
    case Type::kEnum:
    case Type::kRecord:
      return reader.type == writer.type && HasSameName(writer, reader);
    default:
      return reader.type == writer.type;
  }
}

bool IsCalled(const Field& field, const std::string& name) {
  return field.name == name || std::find(field.aliases.begin(), field.aliases.end(), name) != field.aliases.end();
}

// As ReaderFor(), whatever records, enums and fixed types are called.
const Schema* ReaderOfAnyName(const Schema& writer, const Schema& reader) {
  const auto is_same = [&](const Schema& one) { return one.type == writer.type && one.size == writer.size; };
  if (const Schema* const named = ReaderFor(writer, reader); named != nullptr) return named;
  if (reader.type != Type::kUnion) return is_same(reader) ? &reader : nullptr;
  const auto found = std::find_if(reader.branches.begin(), reader.branches.end(),
                                  [&](const SchemaPtr& branch) { return is_same(*branch); });
  return found == reader.branches.end() ? nullptr : found->get();
}

std::string Below(const std::string& path, const std::string& name) { return path.empty() ? name : path + "." + name; }

// Each pair of types once: a type that is named twice within each of forty types would be met a trillion times.
class Resolver {
 public:
  Result<SchemaPtr> Resolve(const SchemaPtr& writer, const SchemaPtr& reader, const std::string& path) {
    const auto key = std::pair(writer.get(), reader.get());
    if (const auto known = known_.find(key); known != known_.end()) return known->second;
    return known_.emplace(key, ResolveAnew(writer, reader, path)).first->second;
  }

 private:
  Result<SchemaPtr> ResolveAnew(const SchemaPtr& writer, const SchemaPtr& reader, const std::string& path);
  Status ResolveFields(Schema& record, const Schema& reader, const std::string& path);

  std::map<std::pair<const Schema*, const Schema*>, Result<SchemaPtr>> known_;
};

Status Resolver::ResolveFields(Schema& record, const Schema& reader, const std::string& path) {
  std::vector<bool> is_there(reader.fields.size(), false);
  for (Field& field : record.fields) {
    const auto wanted = std::find_if(reader.fields.begin(), reader.fields.end(),
                                     [&](const Field& one) { return IsCalled(one, field.name); });
    if (wanted == reader.fields.end()) {
      field.presence = Field::Presence::kLeftOut;
      continue;
    }
    is_there[static_cast<std::size_t>(wanted - reader.fields.begin())] = true;
    ASSIGN_OR_RETURN(field.type, Resolve(field.type, wanted->type, Below(path, wanted->name)));
    field.name = wanted->name;
  }
  for (std::size_t i = 0; i < reader.fields.size(); ++i) {
    const Field& missing = reader.fields[i];
    if (is_there[i]) continue;
    if (!missing.default_bytes) {
      return InvalidInput("the writer's schema has no field '{}', for which there is no default",
                          Below(path, missing.name));
    }
    record.fields.push_back(missing);
    record.fields.back().presence = Field::Presence::kDefault;
  }
  return Status::OK();
}

Result<SchemaPtr> Resolver::ResolveAnew(const SchemaPtr& writer, const SchemaPtr& reader, const std::string& path) {
  auto resolved = std::make_shared<Schema>(*writer);
  if (writer->type == Type::kUnion) {
    Status none = Status::OK();
    for (SchemaPtr& branch : resolved->branches) {
      auto of_branch = Resolve(branch, reader, path);
      if (of_branch.ok()) {
        branch = *std::move(of_branch);
        continue;
      }
      none = of_branch.status();
      auto unreadable = std::make_shared<Schema>(*branch);
      unreadable->unreadable = of_branch.status().message();
      branch = std::move(unreadable);
    }
    const bool is_readable = std::any_of(resolved->branches.begin(), resolved->branches.end(),
                                         [](const SchemaPtr& branch) { return branch->unreadable.empty(); });
    if (!is_readable) return none;
    return resolved;
  }
  const Schema* const taken = ReaderOfAnyName(*writer, *reader);
  if (taken == nullptr) {
    return InvalidInput("field '{}': the writer's {} cannot be read as {}", path, Describe(*writer), Describe(*reader));
  }
  if (resolved->logical == Logical::kNone && taken->type == writer->type) {
    resolved->logical = taken->logical;
    resolved->precision = taken->precision;
    resolved->scale = taken->scale;
  }
  switch (writer->type) {
    case Type::kString:
    case Type::kBytes:
      resolved->type = taken->type;
      break;
    case Type::kEnum:
      for (std::string& symbol : resolved->symbols) {
        const auto& known = taken->symbols;
        if (std::find(known.begin(), known.end(), symbol) != known.end()) continue;
        symbol = taken->default_symbol ? known[*taken->default_symbol] : "";
      }
      break;
    case Type::kArray:
    case Type::kMap: {
      ASSIGN_OR_RETURN(resolved->branches.front(), Resolve(writer->branches.front(), taken->branches.front(), path));
      break;
    }
    case Type::kRecord:
      RETURN_NOT_OK(ResolveFields(*resolved, *taken, path));
      break;
    default:
      break;
  }
  return resolved;
}

}  // namespace

bool HasSameName(const Schema& writer, const Schema& reader) {
  if (LastPart(writer.name) == LastPart(reader.name)) return true;
  return std::any_of(reader.aliases.begin(), reader.aliases.end(), [&](const std::string& alias) {
    return alias == writer.name || LastPart(alias) == LastPart(writer.name);
  });
}

const Schema* ReaderFor(const Schema& writer, const Schema& reader) {
  if (reader.type != Type::kUnion) return Matches(writer, reader) ? &reader : nullptr;
  const Schema* promoted = nullptr;
  for (const SchemaPtr& branch : reader.branches) {
    if (!Matches(writer, *branch)) continue;
    if (branch->type == writer.type) return branch.get();
    if (promoted == nullptr) promoted = branch.get();
  }
  return promoted;
}

Result<SchemaPtr> Resolved(const SchemaPtr& writer, const SchemaPtr& reader, const std::string& path) {
  return Resolver().Resolve(writer, reader, path);
}

}  // namespace millrace::ingest::avro
