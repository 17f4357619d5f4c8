#pragma once

#include "conf/log.hpp"
#include "proxy/io/asio.hpp"

#include <boost/asio/co_spawn.hpp>

#include <exception>
#include <string_view>

namespace pgsteer::proxy {

// Runs a coroutine on its own; an exception that leaves it is logged, never lost.
inline void spawn(Executor executor, awaitable<void> work, std::string_view what) {
    asio::co_spawn(executor, std::move(work), [what](std::exception_ptr failure) {
        if (!failure) return;
        try {
            std::rethrow_exception(failure);
        } catch (const std::exception& error) {
            log::error("a task ended with an exception", "task", what, "error", error.what());
        }
    });
}

}  // namespace pgsteer::proxy
