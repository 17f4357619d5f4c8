// Positions that are asked for: where the primary's WAL ends, behind what was written there; how
// far a replica has replayed, right before a read.
#pragma once

#include "proxy/session/batch_facts.hpp"
#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/sides.hpp"

namespace pgsteer::proxy {

// Puts the questions among what is sent, and takes the answers. Worker-local.
class Questions {
public:
    Questions(const Lodging& lodging, Client& client, Course& course, Memory& memory, Sides& sides)
        : lodging_{lodging}, client_{client}, course_{course}, memory_{memory}, sides_{sides} {}
    Questions(const Questions&) = delete;
    Questions& operator=(const Questions&) = delete;

    // --- to a replica ---

    // Appends to `out`, in front of a read, the question that its Request::needed asks for; its
    // answer decides whether the read counts.
    void add_verification(wire::Buffer& out);

    // --- to the primary ---

    // Appends the question behind `request`, the only one in flight, unless a transaction is or may
    // be open then, or nobody would want to know.
    void add_sample(const BatchFacts& facts, const Request& request, wire::Buffer& out);
    // A read waits for a replica, which cannot have what the primary has not flushed, and nobody
    // hurries to flush what was rolled back: tells the primary to, if there is such WAL and nothing
    // is in flight there. Writes at once; the answer tells a position like any sample's.
    void flush_if_due();
    // The oldest request is being acknowledged, at least in part: others may not miss what it has
    // committed. `status`: of the transaction in which it ran.
    void note_written(routing::Slot slot, routing::TransactionStatus status);

    // --- answers ---

    // A row that answers a message of ours; on_position_told() says what it is worth.
    void note_position(routing::Slot slot, wire::Bytes row);
    // ReadyForQuery behind it. run_again: the replica has not got far enough.
    [[nodiscard]] Verdict on_position_told(Purpose purpose);
    // An error has come before the answer to this question: there will be none.
    void skipped(routing::Slot slot, Purpose purpose);

private:
    [[nodiscard]] bool may_flush() const;
    [[nodiscard]] bool ends_outside_transaction(const BatchFacts& facts) const;
    void asked(routing::TimePoint at);
    [[nodiscard]] Verdict sample_told();
    [[nodiscard]] Verdict verification_told();

    // All of them outlive it.
    const Lodging& lodging_;
    Client& client_;
    Course& course_;
    Memory& memory_;
    Sides& sides_;
};

}  // namespace pgsteer::proxy
