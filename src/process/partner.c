/* Copies of parts in the memory of partners, or parities in that of groups. Pieces go through buffers of their own on both sides: MPI may still hold a buffer
 * whose other end has died, and such a buffer is then left to it. Each piece has a checksum that its owner made; it is looked
 * at by the holder when the piece comes, and again by who gets it back, so that nothing in between can change a byte. In a
 * group the holder adds the piece to a cell and keeps the checksum; who gets a part back adds up what the group sends, and
 * what comes out must have the checksums that its pieces had.
 *
 * Who is in which group is said by the key "cairn/groups/RUN/LAUNCH": the group of each process, as process 0 has proposed it
 * when the hosts of all were known. */
#include "process/partner.h"

#include "base/environment.h"
#include "partner/copies.h"
#include "partner/placement.h"
#include "process/recover_parts.h"
#include "snapshot/parcel.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE_BYTES   ((size_t)256 << 10)
#define WINDOW        2 /* pieces on their way while the job computes */
#define WINDOW_SERVED 8 /* in a recovery */
#define POOL          8 /* buffers that are kept for the next time */
#define PARCELS       3

_Static_assert(CAIRN_COPIES_GROUP_MAX == PC_GROUP_MAX, "what may be asked for is what there is room for");

/* What is sent; behind PIECE and BACK `bytes` bytes as a long payload. */
typedef struct copy_note {
    pc_message message;
    uint64_t total; /* bytes of the whole part */
    cairn_digest digest;
    cairn_digest of_piece; /* BACK with a cell: of the piece that is wanted */
    uint32_t bytes, unused;
} copy_note;

typedef struct piece {
    struct piece *next;
    cairn_transfer *transfer;
    uint32_t peer;
    bool dropped; /* only received */
    copy_note note;
    char data[];
} piece;

/* A copy of another process's part. */
typedef struct room {
    struct room *next;
    uint64_t number; /* 0: free for another one */
    uint64_t total, capacity;
    char *data;
    cairn_digest *digests;
    /* parities: a room is for all of the group; data are its cells, digests [cells][PC_GROUP_MAX] */
    uint64_t totals[PC_GROUP_MAX];
    uint32_t *in; /* [cells]: bits of whose pieces are in it, by places in the group */
} room;

/* This process's own part, where it lies. */
typedef struct own_parcel {
    uint64_t number; /* 0: none */
    const cut *cut;
    cairn_parcel parcel;
} own_parcel;

typedef struct copies {
    pc *core;
    bool placed;
    uint32_t group_size; /* as CAIRN_COPIES wants it; 0: partners */
    uint32_t group[PC_GROUP_MAX], members;
    bool asked;        /* the key was proposed */
    uint64_t *host;    /* [peers] by ranks */
    bool *host_known;  /* [peers] */
    uint32_t *sources; /* [peers] by ranks: as the last READY said */
    uint32_t source;   /* of this process's own state */
    uint64_t brought;  /* the snapshot that it got from elsewhere in the recovery that is under way; 0: none */
    uint32_t brought_from;
    room **rooms;      /* [count] by owners; parities: all in the first */
    uint64_t *offered; /* [count] bytes of the copy that this holder has of what is wanted */
    own_parcel own[PARCELS];
    piece *out;
    uint32_t out_count;
    piece *in, **in_end;
    piece *pool;
    uint32_t pooled;
    char *fetched; /* what is wanted, as far as it has come */
    uint64_t fetched_bytes;
    cairn_digest *expected; /* in a group: of its pieces */
    bool fetching, has_fetched, unavailable;
    uint32_t fetched_from;
} copies;

static uint64_t host_of_this(void)
{
    char name[256] = "";
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    (void)gethostname(name, sizeof name - 1);
    for (const char *at = name; *at != '\0'; at++) { /* FNV-1a */
        hash = (hash ^ (uint8_t)*at) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static uint32_t pieces_of(uint64_t bytes)
{
    return (uint32_t)((bytes + PIECE_BYTES - 1) / PIECE_BYTES);
}

static size_t piece_bytes(uint64_t total, uint32_t index)
{
    uint64_t left = total - (uint64_t)index * PIECE_BYTES;

    return left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
}

static bool step(cairn_process *p, const pc_event *event);

/* ---------------------------------------------------------------- buffers */

static piece *new_piece(copies *c)
{
    piece *x = c->pool;

    if (x == NULL) {
        return malloc(sizeof *x + PIECE_BYTES);
    }
    c->pool = x->next;
    c->pooled--;
    return x;
}

static void free_piece(copies *c, piece *x)
{
    if (c->pooled == POOL) {
        free(x);
        return;
    }
    x->next = c->pool;
    c->pool = x;
    c->pooled++;
}

static uint32_t place_in_group(const copies *c, uint32_t process)
{
    uint32_t at = 0;

    while (at < c->members && c->group[at] != process) {
        at++;
    }
    return at < c->members ? at : 0; /* the core takes nothing of others */
}

static uint64_t total_of(const copies *c, const room *r, uint32_t owner)
{
    return r == NULL ? 0 : c->group_size != 0 ? r->totals[place_in_group(c, owner)] : r->total;
}

static room *room_of(const copies *c, uint32_t owner, uint64_t number)
{
    room *r = c->rooms[c->group_size != 0 ? 0 : owner];

    while (r != NULL && r->number != number) {
        r = r->next;
    }
    return r;
}

static void free_room(room *r)
{
    if (r->data != NULL) {
        (void)munmap(r->data, r->capacity);
    }
    free(r->digests);
    free(r->in);
    free(r);
}

static bool grow_parity(room *r, uint32_t cells)
{
    uint32_t before = (uint32_t)(r->capacity / PIECE_BYTES);
    void *data;
    void *more;

    if (cells <= before) {
        return true;
    }
    more = realloc(r->in, cells * sizeof *r->in);
    r->in = more == NULL ? r->in : more;
    if (more == NULL || (more = realloc(r->digests, (size_t)cells * PC_GROUP_MAX * sizeof *r->digests)) == NULL) {
        return false;
    }
    r->digests = more;
    data = r->data == NULL ? mmap(NULL, cells * PIECE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                           : mremap(r->data, r->capacity, cells * PIECE_BYTES, MREMAP_MAYMOVE);
    if (data == MAP_FAILED) {
        return false;
    }
    memset(r->in + before, 0, (cells - before) * sizeof *r->in);
    r->data = data;
    r->capacity = cells * PIECE_BYTES;
    return true;
}

/* For the stripe of one more of the group. What others have in it stays. */
static bool make_parity(copies *c, uint32_t owner, uint64_t number, uint64_t total)
{
    uint32_t holders = c->members - 1;
    room *r = room_of(c, owner, number);

    if (r == NULL && (r = room_of(c, owner, 0)) != NULL) {
        memset(r->totals, 0, sizeof r->totals);
        memset(r->in, 0, r->capacity / PIECE_BYTES * sizeof *r->in);
    }
    if (r == NULL) {
        r = calloc(1, sizeof *r);
        if (r == NULL) {
            return false;
        }
        r->next = c->rooms[0];
        c->rooms[0] = r;
    }
    r->number = number;
    r->totals[place_in_group(c, owner)] = total;
    return grow_parity(r, (pieces_of(total) + holders - 1) / holders);
}

static void add_up(char *sum, const char *more, size_t bytes)
{
    uint64_t a;
    uint64_t b;
    size_t at = 0;

    for (; at + sizeof a <= bytes; at += sizeof a) {
        memcpy(&a, sum + at, sizeof a);
        memcpy(&b, more + at, sizeof b);
        a ^= b;
        memcpy(sum + at, &a, sizeof a);
    }
    for (; at < bytes; at++) {
        sum[at] = (char)(sum[at] ^ more[at]);
    }
}

/* Its pages come as they are written to: all at once would keep the job waiting. */
static bool make_room(copies *c, uint32_t owner, uint64_t number, uint64_t total)
{
    room *r;
    void *data;

    if (c->group_size != 0) {
        return make_parity(c, owner, number, total);
    }
    r = room_of(c, owner, number);
    if (r == NULL && (r = room_of(c, owner, 0)) == NULL) {
        r = calloc(1, sizeof *r);
        if (r == NULL) {
            return false;
        }
        r->next = c->rooms[owner];
        c->rooms[owner] = r;
    }
    r->number = 0;
    if (total > r->capacity) {
        if (r->data != NULL) {
            (void)munmap(r->data, r->capacity);
        }
        free(r->digests);
        r->capacity = 0;
        r->data = NULL;
        r->digests = calloc(pieces_of(total), sizeof *r->digests);
        data = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (data == MAP_FAILED || r->digests == NULL) {
            if (data != MAP_FAILED) {
                (void)munmap(data, total);
            }
            return false;
        }
        r->data = data;
        r->capacity = total;
    }
    r->number = number;
    r->total = total;
    return true;
}

static bool is_wanted(const cairn_process *p, uint32_t owner, uint64_t number)
{
    const copies *c = p->copies;
    uint32_t first = c->group_size != 0 ? 0 : owner;
    uint32_t last = c->group_size != 0 ? p->count - 1 : owner;

    for (uint32_t i = first; i <= last; i++) {
        if (number == pc_copy(c->core, i, true) || number == pc_copy(c->core, i, false)) {
            return true;
        }
    }
    return false;
}

/* Copies that the core does not know any more leave their room to others; after a recovery they go. */
static void collect(const cairn_process *p, bool all)
{
    copies *c = p->copies;

    for (uint32_t i = 0; i < p->count; i++) {
        room **at = &c->rooms[i];

        while (*at != NULL) {
            room *r = *at;

            if (r->number != 0 && !is_wanted(p, i, r->number)) {
                r->number = 0;
            }
            if (all && r->number == 0) {
                *at = r->next;
                free_room(r);
            } else {
                at = &r->next;
            }
        }
    }
}

static own_parcel *own_of(copies *c, uint64_t number)
{
    for (size_t i = 0; i < PARCELS; i++) {
        if (c->own[i].number == number) {
            return &c->own[i];
        }
    }
    return NULL;
}

static void drop_fetched(copies *c)
{
    cairn_arena_free(c->fetched, c->fetched_bytes);
    free(c->expected);
    c->fetched = NULL;
    c->fetched_bytes = 0;
    c->expected = NULL;
}

/* ---------------------------------------------------------------- sending */

static void send_note(cairn_process *p, uint32_t to, const copy_note *note)
{
    cairn_envelope e = {.lamport = p->lamport,
                        .bytes = sizeof *note,
                        .incarnation = p->incarnation,
                        .tag = note->message.kind,
                        .kind = (uint8_t)CAIRN_KIND_COPY,
                        .vector = (uint16_t)(p->vector != NULL ? p->count : 0),
                        .magic = CAIRN_MAGIC};

    for (uint32_t i = 0; i < p->count; i++) {
        if (i != p->self && (to == PC_ALL || to == i)) {
            (void)cairn_link_send(p->link, i, &e, p->vector, note);
        }
    }
}

static void send_small(cairn_process *p, const pc_send *s)
{
    copies *c = p->copies;
    copy_note note = {.message = s->message};

    if (s->message.kind == PC_BEGIN) {
        const own_parcel *o = own_of(c, s->message.number);

        note.total = o == NULL ? 0 : o->parcel.bytes;
    } else if (s->message.kind == PC_HAVE) {
        note.total = total_of(c, room_of(c, s->to, s->message.number), s->to);
    }
    send_note(p, s->to, &note);
}

/* Piece `at` of the own part; its checksum is made here. */
static bool fill_own(copies *c, uint64_t number, uint32_t at, piece *x)
{
    const own_parcel *o = own_of(c, number);

    if (o == NULL || at >= pieces_of(o->parcel.bytes)) {
        return false;
    }
    x->note.bytes = (uint32_t)piece_bytes(o->parcel.bytes, at);
    cairn_parcel_read(&o->parcel, (uint64_t)at * PIECE_BYTES, x->data, x->note.bytes);
    x->note.digest = cairn_digest_of(x->data, x->note.bytes);
    return true;
}

static bool fill_cell(copies *c, uint32_t to, uint64_t number, uint32_t at, piece *x)
{
    const room *r = room_of(c, to, number);

    if (r == NULL || (at + (uint64_t)1) * PIECE_BYTES > r->capacity) {
        return false;
    }
    x->note.bytes = (uint32_t)PIECE_BYTES;
    memcpy(x->data, r->data + (uint64_t)at * PIECE_BYTES, PIECE_BYTES);
    x->note.digest = cairn_digest_of(x->data, PIECE_BYTES);
    x->note.of_piece = r->digests[(size_t)at * PC_GROUP_MAX + place_in_group(c, to)];
    return true;
}

static bool fill_copy(copies *c, uint32_t to, uint64_t number, uint32_t at, piece *x)
{
    const room *r = room_of(c, to, number);

    if (r == NULL) {
        return false;
    }
    x->note.bytes = (uint32_t)piece_bytes(r->total, at);
    memcpy(x->data, r->data + (uint64_t)at * PIECE_BYTES, x->note.bytes);
    x->note.digest = r->digests[at];
    return true;
}

static bool fill(cairn_process *p, uint32_t to, const pc_message *m, piece *x)
{
    copies *c = p->copies;
    uint32_t at;

    if (m->kind == PC_PIECE) {
        return fill_own(c, m->number, pc_piece_at(c->core, p->self, to, m->index), x);
    }
    if (c->group_size == 0) {
        return fill_copy(c, to, m->number, m->index, x);
    }
    return pc_served(c->core, to, m->index, &at) ? fill_own(c, m->number, at, x) : fill_cell(c, to, m->number, at, x);
}

static void send_piece(cairn_process *p, const pc_send *s, piece *x)
{
    copies *c = p->copies;

    x->note = (copy_note){.message = s->message};
    x->peer = s->to;
    x->dropped = false;
    if (!cairn_link_takes(p->link, s->to) || !fill(p, s->to, &s->message, x)) { /* there will be another view */
        free_piece(c, x);
        return;
    }
    send_note(p, s->to, &x->note);
    if (cairn_link_send_long(p->link, s->to, x->data, x->note.bytes, &x->transfer) != CAIRN_OK) {
        if (p->fatal == CAIRN_OK) {
            p->fatal = cairn_fail(&p->error, CAIRN_E_MPI, "sending a copy to process %u", s->to);
        }
        free_piece(c, x);
        return;
    }
    x->next = c->out;
    c->out = x;
    c->out_count++;
}

static bool is_bulk(const pc_message *m)
{
    return m->kind == PC_PIECE || m->kind == PC_BACK;
}

/* While the job computes one piece each time that anything is driven; when all wait for somebody's state, as they go. */
static void send_due(cairn_process *p)
{
    copies *c = p->copies;
    bool calm = rc_running(p->recovery->core);
    uint32_t window = calm ? WINDOW : WINDOW_SERVED;
    bool bulk = true;
    pc_send s;

    for (;;) {
        piece *x = bulk && c->out_count < window ? new_piece(c) : NULL;
        bool any = pc_next(c->core, x != NULL, &s);

        if (any && is_bulk(&s.message)) {
            send_piece(p, &s, x);
            bulk = !calm;
            continue;
        }
        if (x != NULL) {
            free_piece(c, x);
        }
        if (!any) {
            return;
        }
        send_small(p, &s);
    }
}

static void reap_sent(cairn_process *p)
{
    copies *c = p->copies;
    piece **at = &c->out;

    while (*at != NULL) {
        piece *x = *at;

        if (!cairn_transfer_done(p->link, x->transfer)) {
            at = &x->next;
            continue;
        }
        *at = x->next;
        c->out_count--;
        p->stir++; /* who waits while it gives a part out is not to sleep between two pieces */
        free_piece(c, x);
    }
}

/* ---------------------------------------------------------------- receiving */

void cairn_copies_frame(cairn_process *p, const cairn_frame *frame, bool dropped)
{
    copies *c = p->copies;
    pc_event event = {.kind = PC_MESSAGE, .peer = frame->from};
    copy_note note;
    piece *x;

    if (c == NULL || frame->envelope->bytes != sizeof note) {
        return;
    }
    memcpy(&note, frame->payload, sizeof note);
    if (is_bulk(&note.message)) {
        x = note.bytes <= PIECE_BYTES ? new_piece(c) : NULL;
        if (x == NULL || cairn_link_receive_long(p->link, frame->from, x->data, note.bytes, &x->transfer) != CAIRN_OK) {
            if (p->fatal == CAIRN_OK) {
                p->fatal = cairn_fail(&p->error, CAIRN_E_NOMEM, "a piece of a copy from process %u", frame->from);
            }
            return;
        }
        x->next = NULL;
        x->note = note;
        x->peer = frame->from;
        x->dropped = dropped;
        *c->in_end = x;
        c->in_end = &x->next;
        return;
    }
    if (dropped) {
        return;
    }
    event.message = note.message;
    event.rank = frame->from < p->count ? cairn_recovery_rank(p, frame->from) : PC_NONE;
    if (note.message.kind == PC_HAVE && frame->from < p->count) {
        c->offered[frame->from] = note.total;
    }
    if (note.message.kind == PC_HAVE || note.message.kind == PC_BEGIN) {
        event.message.whole = pieces_of(note.total);
        event.message.pieces = c->group_size != 0 ? note.message.pieces : event.message.whole;
    }
    (void)step(p, &event);
    if (note.message.kind == PC_BEGIN && frame->from < p->count && note.message.number != 0 &&
        (pc_copy(c->core, frame->from, false) == note.message.number ||
         (c->group_size != 0 && pc_copy(c->core, frame->from, true) == note.message.number)) &&
        !make_room(c, frame->from, note.message.number, note.total)) {
        pc_event none = {.kind = PC_NO_ROOM, .peer = frame->from, .number = note.message.number};

        (void)step(p, &none);
    }
}

/* A piece that is in its cell already comes again after a recovery. */
static void add_to_cell(copies *c, const piece *x)
{
    room *r = room_of(c, x->peer, x->note.message.number);
    uint32_t at = x->note.message.index;
    uint32_t place = place_in_group(c, x->peer);
    char *cell = r->data + (uint64_t)at * PIECE_BYTES;

    if (r->in[at] == 0) {
        memcpy(cell, x->data, x->note.bytes);
        memset(cell + x->note.bytes, 0, PIECE_BYTES - x->note.bytes);
    } else if ((r->in[at] & UINT32_C(1) << place) == 0) {
        add_up(cell, x->data, x->note.bytes);
    }
    r->in[at] |= UINT32_C(1) << place;
    r->digests[(size_t)at * PC_GROUP_MAX + place] = x->note.digest;
}

static void add_to_part(copies *c, const piece *x)
{
    uint32_t at;
    bool is_cell;

    if (!pc_returned(c->core, x->peer, x->note.message.index, &at, &is_cell)) {
        return; /* the part is shorter than those of others */
    }
    add_up(c->fetched + (uint64_t)at * PIECE_BYTES, x->data, x->note.bytes);
    if (is_cell) {
        c->expected[at] = x->note.of_piece;
    }
}

/* Put what came where it belongs; the core has said that it is wanted. */
static void store(cairn_process *p, const piece *x)
{
    copies *c = p->copies;
    uint64_t offset = (uint64_t)x->note.message.index * PIECE_BYTES;

    if (c->group_size != 0 && x->note.message.kind == PC_PIECE) {
        add_to_cell(c, x);
    } else if (c->group_size != 0) {
        add_to_part(c, x);
    } else if (x->note.message.kind == PC_PIECE) {
        room *r = room_of(c, x->peer, x->note.message.number);

        memcpy(r->data + offset, x->data, x->note.bytes);
        r->digests[x->note.message.index] = x->note.digest;
    } else {
        memcpy(c->fetched + offset, x->data, x->note.bytes);
    }
}

/* Room for a part that is added up: zeros, whole pieces. */
static bool begin_sum(copies *c, uint64_t total)
{
    uint32_t pieces = pieces_of(total);

    if (c->fetched == NULL && pieces > 0) {
        c->fetched = cairn_arena_new(pieces * PIECE_BYTES);
        c->expected = calloc(pieces, sizeof *c->expected);
        c->fetched_bytes = c->fetched == NULL ? 0 : pieces * PIECE_BYTES;
    }
    return c->expected != NULL && c->fetched_bytes == pieces * PIECE_BYTES;
}

static bool fits_group(cairn_process *p, const piece *x)
{
    copies *c = p->copies;
    const pc_message *m = &x->note.message;
    const room *r;
    uint32_t at;

    if (m->kind == PC_BACK) {
        return x->note.bytes <= PIECE_BYTES && (c->fetching && begin_sum(c, c->offered[x->peer]));
    }
    if (c->members == 0 || (r = room_of(c, x->peer, m->number)) == NULL) {
        return false;
    }
    at = pc_piece_at(c->core, x->peer, p->self, m->index);
    return at < pieces_of(total_of(c, r, x->peer)) && (m->index + (uint64_t)1) * PIECE_BYTES <= r->capacity &&
           x->note.bytes == piece_bytes(total_of(c, r, x->peer), at);
}

/* The bytes are those that the owner had, and as many as belong there. */
static bool is_good(cairn_process *p, const piece *x)
{
    copies *c = p->copies;
    const pc_message *m = &x->note.message;
    uint64_t total;

    if (c->group_size != 0) {
        return fits_group(p, x) && cairn_digest_equal(cairn_digest_of(x->data, x->note.bytes), x->note.digest);
    }
    if (m->kind == PC_PIECE) {
        const room *r = room_of(c, x->peer, m->number);

        total = r == NULL ? 0 : r->total;
    } else {
        total = c->offered[x->peer];
        if (m->index == 0 && c->fetched_bytes < total) {
            drop_fetched(c);
            c->fetched = cairn_arena_new(total);
            c->fetched_bytes = c->fetched == NULL ? 0 : total;
        }
        total = c->fetched_bytes < total ? 0 : total;
    }
    return m->index < pieces_of(total) && x->note.bytes == piece_bytes(total, m->index) &&
           cairn_digest_equal(cairn_digest_of(x->data, x->note.bytes), x->note.digest);
}

static void take_piece(cairn_process *p, const piece *x)
{
    pc_event event = {.kind = PC_MESSAGE, .peer = x->peer, .message = x->note.message};

    if (x->dropped || x->peer >= p->count || x->note.message.view != rc_current(p->recovery->core)->number) {
        return;
    }
    event.rank = cairn_recovery_rank(p, x->peer);
    event.good = x->note.message.number != 0 && is_good(p, x);
    if (step(p, &event)) {
        store(p, x);
    }
}

/* Those of one peer in their order. */
static void take_arrived(cairn_process *p)
{
    copies *c = p->copies;
    piece **at = &c->in;

    while (*at != NULL) {
        piece *x = *at;
        bool first = true;

        for (const piece *before = c->in; before != x && first; before = before->next) {
            first = before->peer != x->peer;
        }
        if (!first || !cairn_transfer_done(p->link, x->transfer)) {
            at = &x->next;
            continue;
        }
        *at = x->next;
        if (*at == NULL) {
            c->in_end = at;
        }
        p->stir++;
        take_piece(p, x);
        free_piece(c, x);
    }
}

void cairn_copies_lost(cairn_process *p, uint32_t peer)
{
    copies *c = p->copies;
    piece **at;

    if (c == NULL) {
        return;
    }
    for (at = &c->out; *at != NULL;) {
        if ((*at)->peer == peer) {
            *at = (*at)->next;
            c->out_count--;
        } else {
            at = &(*at)->next;
        }
    }
    for (at = &c->in; *at != NULL;) {
        if ((*at)->peer == peer) {
            *at = (*at)->next;
        } else {
            at = &(*at)->next;
        }
    }
    c->in_end = at;
}

/* ---------------------------------------------------------------- the core */

/* True: the piece that came is to be stored. */
static bool step(cairn_process *p, const pc_event *event)
{
    copies *c = p->copies;
    pc_output out;

    pc_step(c->core, event, &out);
    if (out.changed) {
        collect(p, event->kind == PC_VIEWED);
    }
    if (out.held) {
        p->beat.held = out.number;
        cairn_levels_held(p, out.number, true);
    }
    if (out.refused) {
        fprintf(stderr, "cairn: process %u: process %u cannot keep the copy of its part of snapshot %llu in memory\n",
                p->self, out.peer, (unsigned long long)out.number);
        cairn_levels_held(p, out.number, false);
    }
    if (out.damaged) {
        fprintf(stderr,
                "cairn: process %u: the copy of its part of snapshot %llu in the memory of process %u is damaged\n",
                p->self, (unsigned long long)out.number, out.peer);
    }
    if (out.fetched) {
        c->has_fetched = true;
        c->fetched_from = out.peer;
    }
    c->unavailable = c->unavailable || out.unavailable;
    return out.stored;
}

/* ---------------------------------------------------------------- groups */

static void groups_key(const cairn_process *p, char key[CAIRN_LOST_KEY_BYTES])
{
    (void)snprintf(key, CAIRN_LOST_KEY_BYTES, "cairn/groups/%s/%u", p->run, p->launch);
}

/* The group of each process, as the key has it: "0 1 0 1 ..." */
static bool take_groups(cairn_process *p, const cairn_kv *kv)
{
    copies *c = p->copies;
    pc_event event = {.kind = PC_GROUPED, .group = c->group};
    char *text = calloc(1, kv->bytes + 1);
    uint32_t *group = calloc(p->count, sizeof *group);
    uint32_t known = 0;
    char *at = text;

    if (text != NULL && group != NULL) {
        memcpy(text, kv->value, kv->bytes);
        for (char *end; known < p->count; known++, at = end) {
            group[known] = (uint32_t)strtoul(at, &end, 10);
            if (end == at) {
                break;
            }
        }
    }
    c->members = 0;
    for (uint32_t i = 0; known == p->count && i < p->count; i++) {
        if (group[i] == group[p->self] && c->members < PC_GROUP_MAX) {
            c->group[c->members++] = i;
        }
    }
    event.ranks = c->members;
    free(text);
    free(group);
    if (event.ranks != 0) {
        (void)step(p, &event);
    }
    return event.ranks != 0;
}

static bool know_groups(cairn_process *p)
{
    char key[CAIRN_LOST_KEY_BYTES];
    cairn_question question = {.op = CAIRN_OP_READ, .key = key};
    cairn_response response = {0};

    groups_key(p, key);
    return cairn_consensus_peek(p, &question, &response) == CAIRN_OK && response.status == CAIRN_OK &&
           response.kv_count == 1 && take_groups(p, &response.kvs[0]);
}

static void on_proposed(void *context, const cairn_response *response)
{
    cairn_process *p = context;

    if (response->status != CAIRN_OK && p->copies != NULL) {
        p->copies->asked = false; /* once more */
    }
}

/* Process 0: by the hosts as they are now. */
static void propose_groups(cairn_process *p, const uint64_t *host)
{
    copies *c = p->copies;
    char key[CAIRN_LOST_KEY_BYTES];
    uint32_t *group = calloc(p->count, 2 * sizeof *group);
    size_t room_for = (size_t)p->count * 12;
    char *text = malloc(room_for);
    cairn_compare none = {.kind = CAIRN_COMPARE_CREATED, .key = key, .number = 0};
    cairn_do put = {.kind = CAIRN_DO_PUT, .key = key, .value = text};
    cairn_question question = {.op = CAIRN_OP_TXN,
                               .flags = CAIRN_REQUEST_REPEAT,
                               .key = "",
                               .txn = {.compares = &none, .compare_count = 1, .then = &put, .then_count = 1}};
    uint64_t tag;

    if (group != NULL && text != NULL) {
        groups_key(p, key);
        pl_groups(p->count, host, c->group_size, group, group + p->count);
        for (uint32_t i = 0; i < p->count; i++) {
            put.bytes += (size_t)snprintf(text + put.bytes, room_for - put.bytes, "%u ", group[i]);
        }
        c->asked = cairn_consensus_ask(p, &question, on_proposed, p, &tag) == CAIRN_OK;
    }
    free(group);
    free(text);
}

static void place_in_parities(cairn_process *p, const uint64_t *host)
{
    copies *c = p->copies;
    uint32_t carriers[PC_GROUP_MAX];
    pc_event event = {.kind = PC_PLACED, .carriers = carriers};

    if (!know_groups(p)) {
        if (p->self == COORDINATOR && !c->asked) {
            propose_groups(p, host);
        }
        return;
    }
    for (uint32_t h = 0; h + 1 < c->members; h++) {
        carriers[h] = cairn_recovery_rank(p, pc_holder(c->core, h));
    }
    c->placed = true;
    (void)step(p, &event);
}

static void place(cairn_process *p)
{
    copies *c = p->copies;
    uint64_t *host;
    uint32_t *holder;
    pc_event event = {.kind = PC_PLACED};

    for (uint32_t i = 0; i < p->count; i++) {
        if (!c->host_known[cairn_recovery_rank(p, i)]) {
            return;
        }
    }
    host = calloc(p->count, sizeof *host);
    holder = calloc(p->count, 2 * sizeof *holder);
    if (host != NULL && holder != NULL) {
        for (uint32_t i = 0; i < p->count; i++) {
            host[i] = c->host[cairn_recovery_rank(p, i)];
        }
        if (c->group_size != 0) {
            place_in_parities(p, host);
        } else {
            pl_partners(p->count, host, holder, holder + p->count);
            event.peer = holder[p->self];
            event.rank = cairn_recovery_rank(p, event.peer);
            c->placed = true;
            (void)step(p, &event);
        }
        if (p->kept != NULL && pc_is_held(c->core, p->kept->head.number)) {
            p->beat.held = p->kept->head.number;
        }
    }
    free(host);
    free(holder);
}

void cairn_copies_drive(cairn_process *p)
{
    copies *c = p->copies;

    if (c->in != NULL) {
        take_arrived(p);
    }
    if (c->out != NULL) {
        reap_sent(p);
    }
    if (p->self >= p->count) {
        return;
    }
    if (!c->placed && rc_running(p->recovery->core)) {
        place(p);
    }
    if (pc_has_next(c->core)) {
        send_due(p);
    }
    p->copying = c->in != NULL || c->out != NULL || pc_has_next(c->core);
}

/* ---------------------------------------------------------------- the own part */

static void keep_parcel(cairn_process *p, const cut *k, pc_event *taken)
{
    copies *c = p->copies;
    own_parcel *o = own_of(c, 0);
    cairn_in_flight *messages = calloc(k->node_count + 1, sizeof *messages);

    taken->number = 0;
    if (o == NULL || messages == NULL) {
        free(messages);
        return;
    }
    for (size_t i = 0; i < k->node_count; i++) {
        const node *n = k->nodes[i];

        messages[i] = (cairn_in_flight){.from = n->from,
                                        .stream = n->stream,
                                        .tag = n->tag,
                                        .sequence = n->sequence,
                                        .lamport = n->lamport,
                                        .bytes = n->bytes,
                                        .payload = n->payload};
    }
    if (cairn_parcel_make(&o->parcel, &k->head, k->states, k->state_count, messages, k->node_count) == CAIRN_OK) {
        o->number = k->head.number;
        o->cut = k;
        taken->number = o->number;
        taken->pieces = pieces_of(o->parcel.bytes);
    }
    free(messages);
}

bool cairn_copies_taken(cairn_process *p, const cut *k)
{
    pc_event event = {.kind = PC_TAKEN};

    if (p->copies == NULL) {
        return false;
    }
    keep_parcel(p, k, &event);
    if (event.number != 0) {
        (void)step(p, &event);
    }
    return event.number != 0;
}

void cairn_copies_gone(cairn_process *p, const cut *k)
{
    copies *c = p->copies;

    for (size_t i = 0; c != NULL && i < PARCELS; i++) {
        own_parcel *o = &c->own[i];

        if (o->number != 0 && o->cut == k) {
            pc_event event = {.kind = PC_GONE, .number = o->number};

            (void)step(p, &event);
            cairn_parcel_free(&o->parcel);
            o->number = 0;
            o->cut = NULL;
        }
    }
}

void cairn_copies_committed(cairn_process *p, uint64_t number)
{
    pc_event event = {.kind = PC_COMMITTED, .number = number};

    if (p->copies != NULL) {
        (void)step(p, &event);
    }
}

void cairn_copies_viewed(cairn_process *p)
{
    copies *c = p->copies;
    const rc_view *view;
    pc_event event = {.kind = PC_VIEWED};

    if (c == NULL) {
        return;
    }
    view = rc_current(p->recovery->core);
    c->placed = false;
    c->has_fetched = false;
    c->unavailable = false;
    c->source = CAIRN_FROM_OWN;
    p->beat.held = 0;
    event.view = view->number;
    event.number = view->snapshot;
    event.peer = p->self < p->count ? p->self : PC_NONE;
    (void)step(p, &event);
    if (c->group_size != 0 && p->self < p->count) {
        (void)know_groups(p); /* if there are any yet */
    }
}

/* ---------------------------------------------------------------- wanting it back */

/* The parcel becomes a cut whose arrays lie in it; it is this process's own from now on. */
static cut *cut_of(cairn_process *p, const cairn_opened_parcel *o)
{
    cut *k = calloc(1, sizeof *k);
    bool all = k != NULL;

    if (k == NULL) {
        return NULL;
    }
    k->counts = calloc((size_t)p->count * (2 * CAIRN_STREAMS + 1), sizeof *k->counts);
    k->states = calloc(o->state_count + 1, sizeof *k->states);
    k->nodes = calloc(o->message_count + 1, sizeof(node *));
    k->node_capacity = o->message_count + 1;
    all = k->counts != NULL && k->states != NULL && k->nodes != NULL;
    for (size_t i = 0; all && i < o->state_count; i++) {
        cairn_state *s = &k->states[k->state_count];

        *s = o->states[i];
        if (s->kind == CAIRN_STATE_BYTES) {
            char *own = malloc((size_t)s->bytes + 1);

            all = own != NULL;
            if (all && s->bytes != 0) {
                memcpy(own, s->data, (size_t)s->bytes);
            }
            s->data = own;
        }
        k->state_count += all;
    }
    for (size_t i = 0; all && i < o->message_count; i++) {
        const cairn_in_flight *m = &o->messages[i];
        cairn_envelope e = {.lamport = m->lamport, .sequence = m->sequence, .bytes = m->bytes, .tag = m->tag};
        node *n = cairn_node_new(p, &e, NULL, m->from, m->payload, NULL);

        all = n != NULL;
        if (all) {
            n->stream = m->stream;
            k->nodes[k->node_count++] = n;
        }
    }
    if (!all) {
        cairn_cut_discard(p, k);
        return NULL;
    }
    k->head = o->head;
    memcpy(k->counts, o->counts, (size_t)p->count * (2 * CAIRN_STREAMS + 1) * sizeof *k->counts);
    k->head.sent = k->counts;
    k->head.received = k->counts + (size_t)p->count * CAIRN_STREAMS;
    k->head.vector = o->head.vector == NULL ? NULL : k->counts + (size_t)2 * p->count * CAIRN_STREAMS;
    (void)snprintf(k->head.job, sizeof k->head.job, "%s", p->job);
    (void)snprintf(k->head.run, sizeof k->head.run, "%s", p->run);
    return k;
}

/* What was added up has the checksums that its pieces had. */
static bool adds_up(cairn_process *p, uint64_t number, uint64_t total)
{
    copies *c = p->copies;
    pc_event gone = {.kind = PC_GONE, .number = number};

    for (uint32_t i = 0; c->group_size != 0 && i < pieces_of(total); i++) {
        if (!cairn_digest_equal(cairn_digest_of(c->fetched + (uint64_t)i * PIECE_BYTES, piece_bytes(total, i)),
                                c->expected[i])) {
            fprintf(stderr, "cairn: process %u: what its group has of its part of snapshot %llu in memory is damaged\n",
                    p->self, (unsigned long long)number);
            (void)step(p, &gone);
            return false;
        }
    }
    return true;
}

static cairn_status adopt(cairn_process *p, uint64_t number, const cut **out)
{
    copies *c = p->copies;
    cairn_opened_parcel o;
    pc_event ignored;
    cairn_status status;
    cut *k;

    if (!adds_up(p, number, c->offered[c->fetched_from])) {
        return CAIRN_E_NOT_FOUND;
    }
    status = cairn_parcel_open(&o, c->fetched, c->offered[c->fetched_from], &p->error);
    if (status != CAIRN_OK) {
        fprintf(stderr, "cairn: process %u: %s\n", p->self, p->error.text);
        return CAIRN_E_NOT_FOUND;
    }
    if (o.head.number != number || o.head.process != p->self || o.head.count != p->count) {
        fprintf(stderr, "cairn: process %u: what process %u keeps is the part of process %u in snapshot %llu\n",
                p->self, c->fetched_from, o.head.process, (unsigned long long)o.head.number);
        cairn_parcel_close(&o);
        return CAIRN_E_NOT_FOUND;
    }
    k = cut_of(p, &o);
    cairn_parcel_close(&o);
    if (k == NULL) {
        return cairn_fail(&p->error, CAIRN_E_NOMEM, "a part from memory");
    }
    k->arena = c->fetched;
    k->arena_bytes = c->fetched_bytes;
    c->fetched = NULL;
    c->fetched_bytes = 0;
    cairn_cut_keep(p, k);
    keep_parcel(p, k, &ignored); /* so that it can be copied again */
    cairn_copies_from(p, number, c->group_size != 0 ? CAIRN_FROM_GROUP : CAIRN_FROM_MEMORY + c->fetched_from);
    *out = k;
    return CAIRN_OK;
}

cairn_status cairn_copies_fetch(cairn_process *p, uint64_t number, const cut **out)
{
    copies *c = p->copies;
    pc_event event = {.kind = PC_WANT, .number = number};
    waiting w = {0};
    cairn_status status = CAIRN_OK;

    if (c == NULL) {
        return CAIRN_E_NOT_FOUND;
    }
    c->has_fetched = false;
    c->unavailable = false;
    drop_fetched(c);
    c->fetching = true;
    (void)step(p, &event);
    while (!c->has_fetched && !c->unavailable && status == CAIRN_OK) {
        status = cairn_pause(p, &w);
    }
    if (c->has_fetched && status == CAIRN_OK) {
        status = adopt(p, number, out);
    } else if (status == CAIRN_E_TIMEOUT) {
        status =
            cairn_fail(&p->error, status,
                       "cairn_recover: who has a copy of this process's part was not known within %.3g s", p->deadline);
    } else if (status == CAIRN_OK) {
        status = CAIRN_E_NOT_FOUND;
    }
    c->fetching = false;
    drop_fetched(c);
    return status;
}

void cairn_copies_from(cairn_process *p, uint64_t number, uint32_t source)
{
    copies *c = p->copies;

    if (c == NULL) {
        return;
    }
    if (source != CAIRN_FROM_OWN) {
        c->brought = number;
        c->brought_from = source;
    }
    c->source = c->brought == number ? c->brought_from : source;
    c->sources[cairn_recovery_rank(p, p->self)] = c->source;
}

void cairn_copies_resumed(cairn_process *p)
{
    if (p->copies != NULL) {
        p->copies->brought = 0;
    }
}

/* ---------------------------------------------------------------- hosts and sources */

void cairn_copies_tell(const cairn_process *p, ready_report *report)
{
    const copies *c = p->copies;

    if (c != NULL) {
        report->host = c->host[cairn_recovery_rank(p, p->self)];
        report->source = c->source;
    }
}

void cairn_copies_heard(cairn_process *p, uint32_t rank, const ready_report *report)
{
    copies *c = p->copies;

    if (c != NULL && report->host != 0) {
        c->host[rank] = report->host;
        c->host_known[rank] = true;
        c->sources[rank] = report->source;
    }
}

static size_t print_source(char *text, size_t bytes, uint32_t source)
{
    int length = source == CAIRN_FROM_GROUP ? snprintf(text, bytes, "from the memory of its group")
                 : source >= CAIRN_FROM_MEMORY
                     ? snprintf(text, bytes, "from the memory of process %u", source - CAIRN_FROM_MEMORY)
                     : snprintf(text, bytes, source == CAIRN_FROM_FILE ? "from its file" : "from its own memory");

    return length > 0 && (size_t)length < bytes ? (size_t)length : 0;
}

void cairn_copies_sources(const cairn_process *p, const uint32_t *before, char *text, size_t bytes)
{
    const copies *c = p->copies;
    const rc_view *view = rc_current(p->recovery->core);
    uint32_t total = 0;
    uint32_t named = 0;
    size_t used = 0;

    text[0] = '\0';
    for (uint32_t k = 0; c != NULL && k < p->count; k++) {
        total += view->carrier[k] != before[k];
    }
    for (uint32_t k = 0; total > 0 && k < p->count && bytes - used > 80; k++) {
        if (view->carrier[k] == before[k]) {
            continue;
        }
        used += (size_t)snprintf(text + used, bytes - used, named++ == 0 ? " (" : "; ");
        if (total > 1) {
            used += (size_t)snprintf(text + used, bytes - used, "%u ", k);
        }
        used += print_source(text + used, bytes - used, c->sources[view->carrier[k]]);
    }
    if (used > 0 && used + 2 <= bytes) {
        memcpy(text + used, ")", 2);
    }
}

/* ---------------------------------------------------------------- begin and end */

cairn_status cairn_copies_start(cairn_process *p)
{
    const char *text = getenv(CAIRN_ENV_COPIES);
    pc_event grouped = {.kind = PC_GROUPED};
    copies *c;
    void *memory;
    uint32_t rank;
    uint32_t size;

    if (text == NULL || strcmp(text, "none") == 0) {
        return CAIRN_OK;
    }
    if (!cairn_copies_kind(text, &size)) {
        return cairn_fail(&p->error, CAIRN_E_INVALID, "%s: partner, xor, xor=PROCESSES (2 to %d) or none, not %s",
                          CAIRN_ENV_COPIES, PC_GROUP_MAX, text);
    }
    if (p->count == 1) {
        return cairn_fail(&p->error, CAIRN_E_INVALID, "%s: one process has no partner", CAIRN_ENV_COPIES);
    }
    c = calloc(1, sizeof *c);
    memory = malloc(pc_bytes(p->count));
    if (c == NULL || memory == NULL) {
        free(c);
        free(memory);
        return cairn_fail(&p->error, CAIRN_E_NOMEM, "copies in memory");
    }
    p->copies = c;
    c->core = pc_init(memory, p->count, p->self < p->count ? p->self : PC_NONE);
    c->in_end = &c->in;
    c->group_size = size;
    c->host = calloc(p->peers, sizeof *c->host);
    c->host_known = calloc(p->peers, sizeof *c->host_known);
    c->sources = calloc(p->peers, sizeof *c->sources);
    c->rooms = calloc(p->count, sizeof(room *));
    c->offered = calloc(p->count, sizeof *c->offered);
    if (c->host == NULL || c->host_known == NULL || c->sources == NULL || c->rooms == NULL || c->offered == NULL) {
        return cairn_fail(&p->error, CAIRN_E_NOMEM, "copies in memory");
    }
    rank = cairn_recovery_rank(p, p->self);
    c->host[rank] = host_of_this() | 1; /* 0: unknown */
    c->host_known[rank] = true;
    if (c->group_size != 0) {
        (void)step(p, &grouped); /* which is not known yet */
    }
    return CAIRN_OK;
}

void cairn_copies_free(cairn_process *p)
{
    copies *c = p->copies;

    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < PARCELS; i++) {
        cairn_parcel_free(&c->own[i].parcel);
    }
    for (uint32_t i = 0; i < p->count; i++) {
        while (c->rooms[i] != NULL) {
            room *next = c->rooms[i]->next;

            free_room(c->rooms[i]);
            c->rooms[i] = next;
        }
    }
    while (c->pool != NULL) {
        piece *next = c->pool->next;

        free(c->pool);
        c->pool = next;
    }
    /* What is still on its way is left to MPI. */
    drop_fetched(c);
    free(c->core);
    free(c->host);
    free(c->host_known);
    free(c->sources);
    free(c->rooms);
    free(c->offered);
    free(c);
    p->copies = NULL;
}
