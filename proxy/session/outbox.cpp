#include "proxy/session/outbox.hpp"

#include <algorithm>
#include <utility>

namespace pgsteer::proxy {

void Outbox::take_back(std::size_t from) {
    pieces_.resize(cut(from));
    if (from == 0) forget_held();  // else it is the beginning of what ends before `from`
}

void Outbox::hold_with(wire::Bytes message) {
    hold_rest();
    held_.insert(held_.end(), message.begin(), message.end());
}

// Splits the piece that `end` is in; how many pieces come before it.
std::size_t Outbox::cut(std::size_t end) {
    const auto* at = data_.data() + end;
    auto before = pieces_.size();
    while (before > 0 && pieces_[before - 1].data() >= at) --before;
    if (before == 0 || pieces_[before - 1].data() + pieces_[before - 1].size() <= at) return before;
    const auto piece = pieces_[before - 1];
    const auto head = static_cast<std::size_t>(at - piece.data());
    pieces_[before - 1] = piece.first(head);
    pieces_.insert(pieces_.begin() + static_cast<std::ptrdiff_t>(before), piece.subspan(head));
    return before;
}

// What is held becomes the first piece of those that are released.
bool Outbox::put_held_first() {
    if (repeated_.empty()) {
        pieces_.insert(pieces_.begin(), wire::Bytes{held_});
        ++released_;
        return true;
    }
    // Rare: an answer that has been released in part comes again.
    const auto rest = pieces_.begin() + static_cast<std::ptrdiff_t>(released_);
    for (auto piece = pieces_.begin(); piece != rest; ++piece)
        held_.insert(held_.end(), piece->begin(), piece->end());
    if (!leave_out_repeated()) return false;
    pieces_.erase(pieces_.begin() + 1, rest);
    pieces_.front() = wire::Bytes{held_};
    released_ = 1;
    return true;
}

void Outbox::hold_rest() {
    for (; released_ < pieces_.size(); ++released_) {
        const auto piece = pieces_[released_];
        held_.insert(held_.end(), piece.begin(), piece.end());
    }
    pieces_.clear();
    released_ = 0;
}

std::optional<wire::Bytes> Outbox::release_held() {
    if (!repeated_.empty() && !leave_out_repeated()) return std::nullopt;
    return wire::Bytes{held_};
}

// The beginning of held_ is what the client already has; false if it is not.
bool Outbox::leave_out_repeated() {
    auto count = std::min(held_.size(), repeated_.size());
    const auto differs = std::mismatch(
        held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(count), repeated_.begin());
    const auto same = differs.first - held_.begin();
    if (std::exchange(ends_in_error_, false)) {
        count = static_cast<std::size_t>(same);
        repeated_.resize(count);
    }
    if (static_cast<std::size_t>(same) < count) return false;
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(count));
    repeated_.erase(repeated_.begin(), repeated_.begin() + static_cast<std::ptrdiff_t>(count));
    return true;
}

}  // namespace pgsteer::proxy
