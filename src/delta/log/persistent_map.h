/// An ordered map from string whose copies share structure: copying is O(1), a change after a copy costs O(log n).
///
/// Snapshots are immutable and every commit makes a new one; with this a commit into a table of a million files stays
/// as cheap as into one of ten. A treap (Seidel and Aragon 1996) with the key's hash as priority, copied along the path
/// of a change; nodes that nobody else holds are changed in place.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace millrace::delta {

/// Reading from any number of threads is fine as long as nobody changes the same map object.
template <typename V>
class PersistentMap {
  struct Node;
  using NodePtr = std::shared_ptr<Node>;

  struct Node {
    Node(std::string key, V value) : entry(std::move(key), std::move(value)), priority(Priority(entry.first)) {}

    std::pair<const std::string, V> entry;
    std::uint64_t priority;
    NodePtr left;
    NodePtr right;
  };

 public:
  using value_type = std::pair<const std::string, V>;

  PersistentMap() = default;

  /// Collects entries in any order and makes a map of them at once; O(n) if they come in order, else O(n log n), and
  /// cheaper than as many calls of Set().
  class Builder {
   public:
    void Add(std::string key, V value) { nodes_.push_back(std::make_shared<Node>(std::move(key), std::move(value))); }

    /// Of several entries with one key the first counts.
    PersistentMap Build() && {
      const auto by_key = [](const NodePtr& a, const NodePtr& b) { return a->entry.first < b->entry.first; };
      if (!std::is_sorted(nodes_.begin(), nodes_.end(), by_key)) std::stable_sort(nodes_.begin(), nodes_.end(), by_key);
      const auto same = [](const NodePtr& a, const NodePtr& b) { return a->entry.first == b->entry.first; };
      nodes_.erase(std::unique(nodes_.begin(), nodes_.end(), same), nodes_.end());
      PersistentMap map;
      map.size_ = nodes_.size();
      // The right spine of the treap so far, top first: a new largest key goes below it, over all of lower priority.
      std::vector<NodePtr*> spine;
      for (NodePtr& node : nodes_) {
        while (!spine.empty() && (*spine.back())->priority < node->priority) spine.pop_back();
        NodePtr& place = spine.empty() ? map.root_ : (*spine.back())->right;
        node->left = std::move(place);
        place = std::move(node);
        spine.push_back(&place);
      }
      return map;
    }

   private:
    std::vector<NodePtr> nodes_;
  };

  /// Calls visit(const value_type* before, const value_type* after) in the order of keys for every entry that only one
  /// of two maps has (the other is nullptr), and for those that both have in places of their own: mostly the replaced
  /// ones, and some that are equal. What is shared is not looked at, so between a map and a changed copy it costs
  /// O(changes · log n).
  template <typename Visit>
  static void ForEachDifference(const PersistentMap& before, const PersistentMap& after, Visit visit) {
    Walk old(before.root_.get());
    Walk now(after.root_.get());
    while (!old.AtEnd() || !now.AtEnd()) {
      if (!old.AtEnd() && !now.AtEnd() && old.Top() == now.Top()) {
        old.Skip();
        now.Skip();
      } else if (old.AtTree() && (!now.AtTree() || old.Top().node->priority >= now.Top().node->priority)) {
        // The higher root first: then trees that both have come up on both sides at the same time.
        if (now.AtTree() && old.Top().node->priority == now.Top().node->priority) now.Open();
        old.Open();
      } else if (now.AtTree()) {
        now.Open();
      } else {
        const int order = old.AtEnd() ? 1 : now.AtEnd() ? -1 : old.Entry()->first.compare(now.Entry()->first);
        const value_type* const gone = order <= 0 ? old.Entry() : nullptr;
        const value_type* const come = order >= 0 ? now.Entry() : nullptr;
        visit(gone, come);
        if (gone != nullptr) old.Skip();
        if (come != nullptr) now.Skip();
      }
    }
  }

  /// Ascending by key. Valid while the map, or a copy of it, is unchanged.
  class const_iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = PersistentMap::value_type;
    using difference_type = std::ptrdiff_t;
    using pointer = const value_type*;
    using reference = const value_type&;

    reference operator*() const { return path_.back()->entry; }
    pointer operator->() const { return &path_.back()->entry; }
    const_iterator& operator++() {
      const Node* node = path_.back();
      path_.pop_back();
      PushLeft(node->right.get());
      return *this;
    }
    const_iterator operator++(int) {
      const_iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const const_iterator& o) const {
      return path_.empty() ? o.path_.empty() : !o.path_.empty() && path_.back() == o.path_.back();
    }

   private:
    friend class PersistentMap;
    void PushLeft(const Node* node) {
      for (; node != nullptr; node = node->left.get()) path_.push_back(node);
    }
    std::vector<const Node*> path_;  // The current node, below it the ancestors that come after it.
  };

  const_iterator begin() const {
    const_iterator it;
    it.PushLeft(root_.get());
    return it;
  }
  const_iterator end() const { return {}; }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  /// nullptr if absent.
  const V* Find(const std::string& key) const {
    const Node* node = root_.get();
    while (node != nullptr) {
      const int order = key.compare(node->entry.first);
      if (order == 0) return &node->entry.second;
      node = order < 0 ? node->left.get() : node->right.get();
    }
    return nullptr;
  }

  /// Inserts or replaces.
  void Set(const std::string& key, V value) { SetBelow(root_, key, std::move(value)); }

  /// Returns whether the key was there.
  bool Erase(const std::string& key) {
    if (Find(key) == nullptr) return false;
    EraseBelow(root_, key);
    --size_;
    return true;
  }

 private:
  static std::uint64_t Priority(const std::string& key) {
    // std::hash may be the identity of something ordered; the multiplication spreads it (Knuth's golden ratio).
    return std::hash<std::string>{}(key)*0x9E3779B97F4A7C15ULL;
  }

  // What is still to come of a map in the order of its keys: whole trees, and single entries between them.
  class Walk {
   public:
    struct Item {
      const Node* node;
      bool is_tree;
      bool operator==(const Item&) const = default;
    };
    explicit Walk(const Node* root) { Push({root, true}); }

    bool AtEnd() const { return items_.empty(); }
    bool AtTree() const { return !items_.empty() && items_.back().is_tree; }
    const Item& Top() const { return items_.back(); }
    const value_type* Entry() const { return &items_.back().node->entry; }
    void Skip() { items_.pop_back(); }
    // Replaces the tree at the top by its parts.
    void Open() {
      const Node* const node = items_.back().node;
      items_.pop_back();
      Push({node->right.get(), true});
      Push({node, false});
      Push({node->left.get(), true});
    }

   private:
    void Push(Item item) {
      if (item.node != nullptr) items_.push_back(item);
    }
    std::vector<Item> items_;
  };

  // Makes the node behind `p` ours alone.
  static Node& Own(NodePtr& p) {
    if (p.use_count() != 1) {
      p = std::make_shared<Node>(*p);
    } else {
      // Another holder may just have let go: its reads come before our writes.
      std::atomic_thread_fence(std::memory_order_acquire);
    }
    return *p;
  }

  void SetBelow(NodePtr& p, const std::string& key, V&& value) {
    if (!p) {
      p = std::make_shared<Node>(key, std::move(value));
      ++size_;
      return;
    }
    Node& node = Own(p);
    const int order = key.compare(node.entry.first);
    if (order == 0) {
      node.entry.second = std::move(value);
    } else if (order < 0) {
      SetBelow(node.left, key, std::move(value));
      if (node.left->priority > node.priority) RotateRight(p);
    } else {
      SetBelow(node.right, key, std::move(value));
      if (node.right->priority > node.priority) RotateLeft(p);
    }
  }

  static void RotateRight(NodePtr& p) {
    NodePtr top = std::move(p->left);
    p->left = std::move(top->right);
    top->right = std::move(p);
    p = std::move(top);
  }
  static void RotateLeft(NodePtr& p) {
    NodePtr top = std::move(p->right);
    p->right = std::move(top->left);
    top->left = std::move(p);
    p = std::move(top);
  }

  static void EraseBelow(NodePtr& p, const std::string& key) {
    const int order = key.compare(p->entry.first);
    if (order == 0) {
      p = Merge(p->left, p->right);
      return;
    }
    Node& node = Own(p);
    EraseBelow(order < 0 ? node.left : node.right, key);
  }

  // Every key of `a` is below every key of `b`.
  static NodePtr Merge(NodePtr a, NodePtr b) {
    if (!a) return b;
    if (!b) return a;
    if (a->priority > b->priority) {
      Node& node = Own(a);
      node.right = Merge(std::move(node.right), std::move(b));
      return a;
    }
    Node& node = Own(b);
    node.left = Merge(std::move(a), std::move(node.left));
    return b;
  }

  NodePtr root_;
  std::size_t size_ = 0;
};

}  // namespace millrace::delta
