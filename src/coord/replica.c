/* A replica: the shell of the Multi-Paxos core. What it says is carried out, what is chosen is applied. */
#include "coord/replica_core.h"

#include <stdarg.h>
#include <stdio.h>

cairn_status replica_fail(cairn_replica *r, cairn_status status, const char *format, ...)
{
    va_list arguments;

    if (r->fatal == CAIRN_OK) {
        r->fatal = status;
        r->error.status = status;
        va_start(arguments, format);
        (void)vsnprintf(r->error.text, sizeof r->error.text, format, arguments);
        va_end(arguments);
    }
    return r->fatal;
}

void replica_say(cairn_replica *r, const char *format, ...)
{
    char line[600];
    va_list arguments;

    if (r->host.say != NULL) {
        va_start(arguments, format);
        (void)vsnprintf(line, sizeof line, format, arguments);
        va_end(arguments);
        r->host.say(r->host.context, line);
    }
}

/* ---------------------------------------------------------------- applying */

/* A slot's value is a row of commands: origin (u32), tag (u64), the request. */
static cairn_status apply_commands(cairn_replica *r, const mp_value *value)
{
    cairn_unpack unpack = {.data = value->data, .bytes = value->bytes};

    while (cairn_unpack_left(&unpack) > 0) {
        uint32_t origin = cairn_unpack_u32(&unpack);
        uint64_t tag = cairn_unpack_u64(&unpack);
        size_t bytes;
        const uint8_t *data = cairn_unpack_text(&unpack, &bytes);
        cairn_question command;
        cairn_applied applied;
        cairn_error error;

        if (unpack.bad || cairn_request_decode(data, bytes, &command, &r->storage, &error) != CAIRN_OK) {
            return replica_fail(r, CAIRN_E_CORRUPT, "a chosen command cannot be read");
        }
        if (cairn_state_apply(r->state, &command, &applied) != CAIRN_OK) {
            return replica_fail(r, CAIRN_E_NOMEM, "applying a command");
        }
        if (!r->recovering) {
            ask_applied(r, origin, tag, &command, &applied);
        }
    }
    return CAIRN_OK;
}

cairn_status replica_apply_chosen(cairn_replica *r)
{
    while (r->applied < mp_chosen(r->core) && r->fatal == CAIRN_OK) {
        mp_value value = mp_value_at(r->core, r->applied + 1);

        if (value.type == 0) {
            return replica_fail(r, CAIRN_E_BUG, "slot %llu is chosen and not there",
                                (unsigned long long)r->applied + 1);
        }
        r->applied++;
        if (value.type == MP_COMMANDS && apply_commands(r, &value) != CAIRN_OK) {
            return r->fatal;
        }
    }
    return r->fatal;
}

/* ---------------------------------------------------------------- the core's outputs */

static void carry_out(cairn_replica *r, mp_output *out)
{
    for (uint32_t i = 0; i < out->record_count; i++) {
        if (r->log != NULL && cairn_log_append(r->log, &out->records[i]) != CAIRN_OK) {
            (void)replica_fail(r, CAIRN_E_NOMEM, "the log's next group");
        }
    }
    for (uint32_t i = 0; i < out->send_count; i++) {
        wire_message(r, &out->sends[i]);
    }
    if (out->deposed) {
        ask_deposed(r);
    }
    if (out->elected) {
        r->dispatch = true;
        lease_elected(r);
    }
    if (out->reads_to > r->reads_to) {
        r->reads_to = out->reads_to;
        r->reads_at = out->reads_at;
        r->stats.read_rounds++;
    }
    if (out->serve) {
        image_serve(r, out->serve_to, out->serve_from);
    }
}

void replica_step(cairn_replica *r, mp_event *event)
{
    mp_output out;

    event->now = r->now;
    mp_step(r->core, event, &out);
    carry_out(r, &out);
    while (out.again && r->fatal == CAIRN_OK) {
        mp_event again = {.kind = MP_AGAIN, .now = r->now};

        mp_step(r->core, &again, &out);
        carry_out(r, &out);
    }
}

static void begin_write(cairn_replica *r)
{
    if (r->log == NULL || r->writing) {
        return;
    }
    r->sealed = r->applied;
    if (cairn_log_seal(r->log)) {
        r->writing = true;
        r->host.write(r->host.context);
    } else {
        r->written = r->sealed; /* nothing waits to be written */
    }
}

/* Work until nothing is left: apply, answer, propose. The write begins before the answers go out: the disk is the
 * slowest of all. */
void replica_settle(cairn_replica *r)
{
    uint64_t before;

    if (r->settling) {
        return;
    }
    r->settling = true;
    do {
        before = r->applied;
        if (replica_apply_chosen(r) == CAIRN_OK && r->applied > before) {
            mp_event event = {.kind = MP_APPLIED, .number = r->applied};

            replica_step(r, &event);
        }
        ask_reads_ready(r);
        ask_take_fresh(r);
        if (r->dispatch) {
            ask_dispatch_all(r);
        }
        ask_propose(r);
        begin_write(r);
    } while (r->fatal == CAIRN_OK && (r->applied < mp_chosen(r->core) || r->dispatch || r->fresh.first != NULL));
    r->settling = false;
}

/* ---------------------------------------------------------------- events */

static void see(cairn_replica *r, uint64_t now)
{
    r->now = now > r->now ? now : r->now;
}

cairn_status cairn_replica_message(cairn_replica *r, uint32_t from, const void *data, size_t bytes, uint64_t now)
{
    cairn_unpack rest;
    wire_kind kind;

    see(r, now);
    if (r->fatal != CAIRN_OK) {
        return r->fatal;
    }
    if (!wire_open(data, bytes, &kind, &rest)) {
        r->stats.dropped++;
        return CAIRN_OK;
    }
    if (kind == WIRE_PAXOS) {
        mp_message message;
        mp_event event = {.kind = MP_MESSAGE, .from = from, .message = &message};

        if (wire_read_message(&rest, r->options.paxos.value_max, &message)) {
            r->stats.counted += message.kind == MP_ACCEPTED ? 1 : 0;
            r->stats.phase_2_bytes += message.kind == MP_ACCEPTED ? bytes : 0;
            replica_step(r, &event);
        }
    } else if (kind == WIRE_REQUEST) {
        ask_on_request(r, from, &rest);
    } else if (kind == WIRE_RESPONSE) {
        ask_on_response(r, &rest);
    } else if (kind == WIRE_IMAGE) {
        image_on_chunk(r, from, &rest);
    } else if (kind == WIRE_IMAGE_GET) {
        image_on_get(r, from, &rest);
    }
    replica_settle(r);
    return r->fatal;
}

cairn_status cairn_replica_tick(cairn_replica *r, uint64_t now)
{
    mp_event event = {.kind = MP_TICK};

    see(r, now);
    if (r->fatal != CAIRN_OK) {
        return r->fatal;
    }
    replica_step(r, &event);
    ask_tick(r);
    lease_tick(r);
    image_tick(r);
    replica_settle(r);
    image_consider(r);
    return r->fatal;
}

cairn_status cairn_replica_write(cairn_replica *r, cairn_error *error)
{
    return cairn_log_write(r->log, error);
}

size_t cairn_replica_write_bytes(const cairn_replica *r)
{
    return r->log == NULL ? 0 : cairn_log_sealed_bytes(r->log);
}

cairn_status cairn_replica_written(cairn_replica *r, cairn_status status, uint64_t now)
{
    mp_event event = {.kind = MP_PERSISTED};

    see(r, now);
    r->writing = false;
    if (status != CAIRN_OK) {
        return replica_fail(r, status, "the consensus log cannot be written: %s", cairn_status_text(status));
    }
    cairn_log_written(r->log, &event.number);
    r->written = r->sealed;
    replica_step(r, &event);
    replica_settle(r);
    return r->fatal;
}

/* ---------------------------------------------------------------- questions */

const char *cairn_replica_error(const cairn_replica *r)
{
    return r->error.text;
}

const mp *cairn_replica_core(const cairn_replica *r)
{
    return r->core;
}

cairn_state_machine *cairn_replica_state(cairn_replica *r)
{
    return r->state;
}

uint64_t cairn_replica_applied(const cairn_replica *r)
{
    return r->applied;
}

bool cairn_replica_writing(const cairn_replica *r)
{
    return r->writing;
}

void cairn_replica_resign(cairn_replica *r, uint64_t now)
{
    mp_event event = {.kind = MP_RESIGN};

    see(r, now);
    replica_step(r, &event);
    replica_settle(r);
}

void cairn_replica_ended(cairn_replica *r, uint32_t process, uint64_t now)
{
    mp_event event = {.kind = MP_ENDED, .from = process};

    see(r, now);
    replica_step(r, &event);
    replica_settle(r);
}

void cairn_replica_get_stats(const cairn_replica *r, cairn_replica_stats *out)
{
    *out = r->stats;
    if (r->log != NULL) {
        cairn_log_get_stats(r->log, &out->log);
    }
}
