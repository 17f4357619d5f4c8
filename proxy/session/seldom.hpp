// A value that most sessions do not have most of the time. Pure.
#pragma once

#include <memory>

namespace pgsteer::proxy {

// As T{} while it is not edited, and takes no memory then.
template <class T>
class Seldom {
public:
    Seldom() = default;
    Seldom(const Seldom& other) { *this = other; }
    Seldom& operator=(const Seldom& other) {
        if (this == &other) return *this;
        if (other.value_) {
            edit() = *other.value_;
        } else {
            clear();
        }
        return *this;
    }
    Seldom(Seldom&&) noexcept = default;
    Seldom& operator=(Seldom&&) noexcept = default;
    ~Seldom() = default;

    [[nodiscard]] const T& operator*() const { return value_ ? *value_ : kNone; }
    [[nodiscard]] const T* operator->() const { return &**this; }
    [[nodiscard]] T& edit() {
        if (!value_) value_ = std::make_unique<T>();
        return *value_;
    }
    void clear() { value_.reset(); }

private:
    static inline const T kNone{};

    std::unique_ptr<T> value_;
};

}  // namespace pgsteer::proxy
