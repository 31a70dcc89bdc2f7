/* stations: a generator of measurements, "station;temperature", as much as asked. An ordinary program, no MPI.
 *
 * Station and temperature of row i depend on the seed and i alone, so neither the number of files nor the machine
 * changes the rows:
 * --files K only cuts them. The temperature is drawn from a table of 4096 quantiles of the normal distribution (mean
 * of the station, deviation 10 degrees) and has one decimal. The means are annual ones, from general knowledge:
 * plausible, not measured. */
#include "options.h"

#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

enum { QUANTILES = 4096, BUFFER = 1 << 20, ROW_MAX = 64, FILES_MAX = 100000 };

static const struct {
    const char *name;
    int mean; /* tenths of a degree Celsius */
} cities[] = {
    {"Abha", 180},
    {"Abidjan", 260},
    {"Abéché", 294},
    {"Accra", 264},
    {"Addis Ababa", 160},
    {"Adelaide", 173},
    {"Aden", 291},
    {"Ahvaz", 254},
    {"Albuquerque", 140},
    {"Alexandra", 110},
    {"Alexandria", 200},
    {"Algiers", 182},
    {"Alice Springs", 210},
    {"Almaty", 100},
    {"Amsterdam", 102},
    {"Anadyr", -69},
    {"Anchorage", 28},
    {"Andorra la Vella", 98},
    {"Ankara", 120},
    {"Antananarivo", 179},
    {"Antsiranana", 252},
    {"Arkhangelsk", 13},
    {"Ashgabat", 171},
    {"Asmara", 156},
    {"Assab", 305},
    {"Astana", 35},
    {"Athens", 192},
    {"Atlanta", 170},
    {"Auckland", 152},
    {"Austin", 207},
    {"Baghdad", 228},
    {"Baguio", 195},
    {"Baku", 151},
    {"Baltimore", 131},
    {"Bamako", 278},
    {"Bangkok", 286},
    {"Bangui", 260},
    {"Banjul", 260},
    {"Barcelona", 182},
    {"Bata", 251},
    {"Batumi", 140},
    {"Beijing", 129},
    {"Beirut", 209},
    {"Belgrade", 125},
    {"Belize City", 267},
    {"Benghazi", 199},
    {"Bergen", 77},
    {"Berlin", 103},
    {"Bilbao", 147},
    {"Birao", 265},
    {"Bishkek", 113},
    {"Bissau", 270},
    {"Blantyre", 222},
    {"Bloemfontein", 156},
    {"Boise", 114},
    {"Bordeaux", 142},
    {"Bosaso", 300},
    {"Boston", 109},
    {"Bouaké", 260},
    {"Bratislava", 105},
    {"Brazzaville", 250},
    {"Bridgetown", 270},
    {"Brisbane", 214},
    {"Brussels", 105},
    {"Bucharest", 108},
    {"Budapest", 113},
    {"Bujumbura", 238},
    {"Bulawayo", 189},
    {"Burnie", 131},
    {"Busan", 150},
    {"Cabo San Lucas", 239},
    {"Cairns", 250},
    {"Cairo", 214},
    {"Calgary", 44},
    {"Canberra", 131},
    {"Cape Town", 162},
    {"Changsha", 174},
    {"Charlotte", 161},
    {"Chiang Mai", 258},
    {"Chicago", 98},
    {"Chihuahua", 186},
    {"Chișinău", 102},
    {"Chittagong", 259},
    {"Chongqing", 186},
    {"Christchurch", 122},
    {"City of San Marino", 118},
    {"Colombo", 274},
    {"Columbus", 117},
    {"Conakry", 264},
    {"Copenhagen", 91},
    {"Cotonou", 272},
    {"Cracow", 93},
    {"Da Lat", 179},
    {"Da Nang", 258},
    {"Dakar", 240},
    {"Dallas", 190},
    {"Damascus", 170},
    {"Dampier", 264},
    {"Dar es Salaam", 258},
    {"Darwin", 276},
    {"Denpasar", 237},
    {"Denver", 104},
    {"Detroit", 100},
    {"Dhaka", 259},
    {"Dikson", -111},
    {"Dili", 266},
    {"Djibouti", 299},
    {"Dodoma", 227},
    {"Dolisie", 240},
    {"Douala", 267},
    {"Dubai", 269},
    {"Dublin", 98},
    {"Dunedin", 111},
    {"Durban", 206},
    {"Dushanbe", 147},
    {"Edinburgh", 93},
    {"Edmonton", 42},
    {"El Paso", 181},
    {"Entebbe", 210},
    {"Erbil", 195},
    {"Erzurum", 51},
    {"Fairbanks", -23},
    {"Fianarantsoa", 179},
    {"Flores", 264},
    {"Frankfurt", 106},
    {"Fresno", 179},
    {"Fukuoka", 170},
    {"Gabès", 195},
    {"Gaborone", 210},
    {"Gagnoa", 260},
    {"Gangtok", 152},
    {"Garissa", 293},
    {"Garoua", 283},
    {"George Town", 279},
    {"Ghanzi", 214},
    {"Gjoa Haven", -144},
    {"Guadalajara", 209},
    {"Guangzhou", 224},
    {"Guatemala City", 204},
    {"Halifax", 75},
    {"Hamburg", 97},
    {"Hamilton", 138},
    {"Hanga Roa", 205},
    {"Hanoi", 236},
    {"Harare", 184},
    {"Harbin", 50},
    {"Hargeisa", 217},
    {"Hat Yai", 270},
    {"Havana", 252},
    {"Helsinki", 59},
    {"Heraklion", 189},
    {"Hiroshima", 163},
    {"Ho Chi Minh City", 274},
    {"Hobart", 127},
    {"Hong Kong", 233},
    {"Honiara", 265},
    {"Honolulu", 254},
    {"Houston", 208},
    {"Ifrane", 114},
    {"Indianapolis", 118},
    {"Iqaluit", -93},
    {"Irkutsk", 10},
    {"Istanbul", 139},
    {"İzmir", 179},
    {"Jacksonville", 203},
    {"Jakarta", 267},
    {"Jayapura", 270},
    {"Jerusalem", 183},
    {"Johannesburg", 155},
    {"Jos", 228},
    {"Juba", 278},
    {"Kabul", 121},
    {"Kampala", 200},
    {"Kandi", 277},
    {"Kankan", 265},
    {"Kano", 264},
    {"Kansas City", 125},
    {"Karachi", 260},
    {"Karonga", 244},
    {"Kathmandu", 183},
    {"Khartoum", 299},
    {"Kingston", 274},
    {"Kinshasa", 253},
    {"Kolkata", 267},
    {"Kuala Lumpur", 273},
    {"Kumasi", 260},
    {"Kunming", 157},
    {"Kuopio", 34},
    {"Kuwait City", 257},
    {"Kyiv", 84},
    {"Kyoto", 158},
    {"La Ceiba", 262},
    {"La Paz", 237},
    {"Lagos", 268},
    {"Lahore", 243},
    {"Lake Havasu City", 237},
    {"Lake Tekapo", 87},
    {"Las Palmas de Gran Canaria", 212},
    {"Las Vegas", 203},
    {"Launceston", 131},
    {"Lhasa", 76},
    {"Libreville", 259},
    {"Lisbon", 175},
    {"Livingstone", 218},
    {"Ljubljana", 109},
    {"Lodwar", 293},
    {"Lomé", 269},
    {"London", 113},
    {"Los Angeles", 186},
    {"Louisville", 139},
    {"Luanda", 258},
    {"Lubumbashi", 208},
    {"Lusaka", 199},
    {"Luxembourg City", 93},
    {"Lviv", 78},
    {"Lyon", 125},
    {"Madrid", 150},
    {"Mahajanga", 263},
    {"Makassar", 267},
    {"Makurdi", 260},
    {"Malabo", 263},
    {"Malé", 280},
    {"Managua", 273},
    {"Manama", 265},
    {"Mandalay", 280},
    {"Mango", 281},
    {"Manila", 284},
    {"Maputo", 228},
    {"Marrakesh", 196},
    {"Marseille", 158},
    {"Maun", 224},
    {"Medan", 265},
    {"Mek'ele", 227},
    {"Melbourne", 151},
    {"Memphis", 172},
    {"Mexicali", 231},
    {"Mexico City", 175},
    {"Miami", 249},
    {"Milan", 130},
    {"Milwaukee", 89},
    {"Minneapolis", 78},
    {"Minsk", 67},
    {"Mogadishu", 271},
    {"Mombasa", 263},
    {"Monaco", 164},
    {"Moncton", 61},
    {"Monterrey", 223},
    {"Montreal", 68},
    {"Moscow", 58},
    {"Mumbai", 271},
    {"Murmansk", 6},
    {"Muscat", 280},
    {"Mzuzu", 177},
    {"N'Djamena", 283},
    {"Naha", 231},
    {"Nairobi", 178},
    {"Nakhon Ratchasima", 273},
    {"Napier", 146},
    {"Napoli", 159},
    {"Nashville", 154},
    {"Nassau", 246},
    {"Ndola", 203},
    {"New Delhi", 250},
    {"New Orleans", 207},
    {"New York City", 129},
    {"Ngaoundéré", 220},
    {"Niamey", 293},
    {"Nicosia", 197},
    {"Niigata", 139},
    {"Nouadhibou", 213},
    {"Nouakchott", 257},
    {"Novosibirsk", 17},
    {"Nuuk", -14},
    {"Odesa", 107},
    {"Odienné", 260},
    {"Oklahoma City", 159},
    {"Omaha", 106},
    {"Oranjestad", 281},
    {"Oslo", 57},
    {"Ottawa", 66},
    {"Ouagadougou", 283},
    {"Ouahigouya", 286},
    {"Ouarzazate", 189},
    {"Oulu", 27},
    {"Palembang", 273},
    {"Palermo", 185},
    {"Palm Springs", 245},
    {"Palmerston North", 132},
    {"Panama City", 280},
    {"Parakou", 268},
    {"Paris", 123},
    {"Perth", 187},
    {"Petropavlovsk-Kamchatsky", 19},
    {"Philadelphia", 132},
    {"Phnom Penh", 283},
    {"Phoenix", 239},
    {"Pittsburgh", 108},
    {"Podgorica", 153},
    {"Pointe-Noire", 261},
    {"Pontianak", 277},
    {"Port Moresby", 269},
    {"Port Sudan", 284},
    {"Port Vila", 243},
    {"Port-Gentil", 260},
    {"Portland (OR)", 124},
    {"Porto", 157},
    {"Prague", 84},
    {"Praia", 244},
    {"Pretoria", 182},
    {"Pyongyang", 108},
    {"Rabat", 172},
    {"Rangpur", 244},
    {"Reggane", 283},
    {"Reykjavík", 43},
    {"Riga", 62},
    {"Riyadh", 260},
    {"Rome", 152},
    {"Roseau", 262},
    {"Rostov-on-Don", 99},
    {"Sacramento", 163},
    {"Saint Petersburg", 58},
    {"Saint-Pierre", 57},
    {"Salt Lake City", 116},
    {"San Antonio", 208},
    {"San Diego", 178},
    {"San Francisco", 146},
    {"San Jose", 164},
    {"San José", 226},
    {"San Juan", 272},
    {"San Salvador", 231},
    {"Sana'a", 200},
    {"Santo Domingo", 259},
    {"Sapporo", 89},
    {"Sarajevo", 101},
    {"Saskatoon", 33},
    {"Seattle", 113},
    {"Ségou", 280},
    {"Seoul", 125},
    {"Seville", 192},
    {"Shanghai", 167},
    {"Singapore", 270},
    {"Skopje", 124},
    {"Sochi", 142},
    {"Sofia", 106},
    {"Sokoto", 280},
    {"Split", 161},
    {"St. John's", 50},
    {"St. Louis", 139},
    {"Stockholm", 66},
    {"Surabaya", 271},
    {"Suva", 256},
    {"Suwałki", 72},
    {"Sydney", 177},
    {"Tabora", 230},
    {"Tabriz", 126},
    {"Taipei", 230},
    {"Tallinn", 64},
    {"Tamale", 279},
    {"Tamanrasset", 217},
    {"Tampa", 229},
    {"Tashkent", 148},
    {"Tauranga", 148},
    {"Tbilisi", 129},
    {"Tegucigalpa", 217},
    {"Tehran", 170},
    {"Tel Aviv", 200},
    {"Thessaloniki", 160},
    {"Thiès", 240},
    {"Tijuana", 178},
    {"Timbuktu", 280},
    {"Tirana", 152},
    {"Toamasina", 234},
    {"Tokyo", 154},
    {"Toliara", 241},
    {"Toluca", 124},
    {"Toronto", 94},
    {"Tripoli", 200},
    {"Tromsø", 29},
    {"Tucson", 209},
    {"Tunis", 184},
    {"Ulaanbaatar", -4},
    {"Upington", 204},
    {"Ürümqi", 74},
    {"Vaduz", 101},
    {"Valencia", 183},
    {"Valletta", 188},
    {"Vancouver", 104},
    {"Veracruz", 254},
    {"Vienna", 104},
    {"Vientiane", 259},
    {"Villahermosa", 271},
    {"Vilnius", 60},
    {"Virginia Beach", 158},
    {"Vladivostok", 49},
    {"Warsaw", 85},
    {"Washington D.C.", 146},
    {"Wau", 278},
    {"Wellington", 129},
    {"Whitehorse", -1},
    {"Wichita", 139},
    {"Willemstad", 280},
    {"Winnipeg", 30},
    {"Wrocław", 96},
    {"Xi'an", 141},
    {"Yakutsk", -88},
    {"Yangon", 275},
    {"Yaoundé", 238},
    {"Yellowknife", -43},
    {"Yerevan", 124},
    {"Yinchuan", 90},
    {"Zagreb", 107},
    {"Zanzibar City", 260},
    {"Zürich", 93},
    {"São Paulo", 197},
    {"Bogotá", 136},
    {"Córdoba", 179},
    {"Málaga", 187},
    {"München", 97},
    {"Köln", 110},
    {"Besançon", 110},
    {"Łódź", 85},
    {"Gdańsk", 83},
    {"Москва", 58},
    {"東京", 154},
    {"Ålesund", 76},
    {"Linköping", 68},
};
enum { CITIES = sizeof cities / sizeof cities[0] };

static const char header[] = "station;temperature\n";

static const char help_text[] =
    "usage: stations --rows N | --bytes SIZE [--seed S] [--files K] FOLDER | -\n"
    "\n"
    "Writes rows of \"station;temperature\" with a header to standard output (-) or to FOLDER/stations-0001.csv and so "
    "on.\n"
    "\n"
    "  --rows N       so many rows\n"
    "  --bytes SIZE   as many rows as fit into so many bytes, headers not counted (K, M, G: thousands)\n"
    "  --seed S       other rows (default 1)\n"
    "  --files K      cut them into K files of as many rows or bytes, give or take one row (default 1)\n"
    "  --help         this text\n"
    "\n"
    "Exit status: 0; 3 wrong arguments; 74 writing failed.\n";

typedef struct generator {
    uint64_t rows, bytes; /* asked for; the other is UINT64_MAX */
    uint64_t seed, files;
    const char *target;
    int quantile[QUANTILES];
    size_t length[CITIES];
} generator;

/* Quantiles of the normal distribution by bisection over its integral (erf), in tenths of a degree. */
static void make_quantiles(generator *g)
{
    for (int i = 0; i < QUANTILES; i++) {
        double p = (i + 0.5) / QUANTILES, low = -8, high = 8;
        for (int k = 0; k < 60; k++) {
            double middle = (low + high) / 2;
            if (0.5 * (1 + erf(middle / sqrt(2))) < p) {
                low = middle;
            } else {
                high = middle;
            }
        }
        g->quantile[i] = (int)lrint(low * 100);
    }
    for (int i = 0; i < CITIES; i++) {
        g->length[i] = strlen(cities[i].name);
    }
}

/* Row i at `at`; returns its length. */
static size_t make_row(const generator *g, uint64_t i, char *at)
{
    uint64_t draw = job_mix(g->seed * UINT64_C(0x9e3779b97f4a7c15) + i);
    size_t city = (size_t)(((draw >> 32) * CITIES) >> 32);
    int tenths = cities[city].mean + g->quantile[draw % QUANTILES];
    char *out = at;

    memcpy(out, cities[city].name, g->length[city]);
    out += g->length[city];
    *out++ = ';';
    if (tenths < 0) {
        *out++ = '-';
        tenths = -tenths;
    }
    if (tenths >= 100) {
        *out++ = (char)('0' + tenths / 100);
    }
    *out++ = (char)('0' + tenths / 10 % 10);
    *out++ = '.';
    *out++ = (char)('0' + tenths % 10);
    *out++ = '\n';
    return (size_t)(out - at);
}

static bool write_all(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t done = write(fd, data, bytes);
        if (done < 0 && errno != EINTR) {
            return false;
        }
        data += done > 0 ? done : 0;
        bytes -= done > 0 ? (size_t)done : 0;
    }
    return true;
}

/* Rows from *row on until one of the bounds (counted over all files) is reached. */
static bool write_file(const generator *g, int fd, uint64_t *row, uint64_t rows_end, uint64_t *bytes,
                       uint64_t bytes_end)
{
    static char buffer[BUFFER + ROW_MAX];
    size_t used = sizeof header - 1;

    memcpy(buffer, header, used);
    while (*row < rows_end) {
        size_t length = make_row(g, *row, buffer + used);
        if (*bytes + length > bytes_end) {
            break;
        }
        *bytes += length;
        used += length;
        ++*row;
        if (used >= BUFFER) {
            if (!write_all(fd, buffer, used)) {
                return false;
            }
            used = 0;
        }
    }
    return write_all(fd, buffer, used);
}

static int generate(const generator *g)
{
    bool to_stdout = strcmp(g->target, "-") == 0;
    uint64_t row = 0, bytes = 0;
    char path[4096] = "standard output";

    if (!to_stdout && mkdir(g->target, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "stations: %s: %s\n", g->target, strerror(errno));
        return CAIRN_EXIT_JOB_USAGE;
    }
    for (uint64_t k = 1; k <= g->files; k++) {
        uint64_t rows_end =
            g->rows == UINT64_MAX ? UINT64_MAX : (uint64_t)((double)g->rows / (double)g->files * (double)k);
        uint64_t bytes_end =
            g->bytes == UINT64_MAX ? UINT64_MAX : g->bytes / g->files * k + g->bytes % g->files * k / g->files;
        int fd = STDOUT_FILENO;
        if (!to_stdout) {
            int length = snprintf(path, sizeof path, "%s/stations-%04llu.csv", g->target, (unsigned long long)k);
            fd = length < (int)sizeof path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
        }
        rows_end = k == g->files ? g->rows : rows_end;
        bool fine = fd >= 0 && write_file(g, fd, &row, rows_end, &bytes, bytes_end);
        if (!to_stdout && fd >= 0) {
            fine = close(fd) == 0 && fine;
        }
        if (!fine) {
            fprintf(stderr, "stations: %s: %s\n", path, strerror(errno));
            return CAIRN_EXIT_IO;
        }
    }
    return CAIRN_EXIT_OK;
}

/* A number with K, M or G. */
static uint64_t parse_size(job_fault *fault, const char *option, const char *text)
{
    char digits[32];
    size_t length = strlen(text);
    char last = length > 1 ? text[length - 1] : '0';
    uint64_t unit = last == 'K' || last == 'k' ? 1000 : last == 'M' ? 1000000 : last == 'G' ? 1000000000 : 1;

    length -= unit > 1;
    (void)snprintf(digits, sizeof digits, "%.*s", (int)(length > 31 ? 31 : length), text);
    return job_number(fault, option, digits, 0, UINT64_C(1000000000000)) * unit;
}

/* true: help was asked for. */
static bool parse(generator *g, job_fault *fault, int argc, char **argv)
{
    static const struct option options[] = {
        {"rows", required_argument, NULL, 'r'}, {"bytes", required_argument, NULL, 'b'},
        {"seed", required_argument, NULL, 's'}, {"files", required_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0},
    };
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'r':
            g->rows = parse_size(fault, "--rows", optarg);
            break;
        case 'b':
            g->bytes = parse_size(fault, "--bytes", optarg);
            break;
        case 's':
            g->seed = job_number(fault, "--seed", optarg, 0, UINT64_MAX);
            break;
        case 'f':
            g->files = job_number(fault, "--files", optarg, 1, FILES_MAX);
            break;
        case 'h':
            return true;
        default:
            job_wrong(fault, "%s: unknown option, or its value is missing; see stations --help", argv[optind - 1]);
        }
    }
    if ((g->rows == UINT64_MAX) == (g->bytes == UINT64_MAX)) {
        job_wrong(fault, "one of --rows and --bytes is needed; see stations --help");
    }
    if (optind != argc - 1) {
        job_wrong(fault, "one folder or - is needed; see stations --help");
    } else {
        g->target = argv[optind];
        if (strcmp(g->target, "-") == 0 && g->files != 1) {
            job_wrong(fault, "--files needs a folder");
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    static generator g = {.rows = UINT64_MAX, .bytes = UINT64_MAX, .seed = 1, .files = 1};
    job_fault fault = {""};

    if (parse(&g, &fault, argc, argv)) {
        fputs(help_text, stdout);
        return CAIRN_EXIT_OK;
    }
    if (fault.text[0] != '\0') {
        fprintf(stderr, "stations: %s\n", fault.text);
        return CAIRN_EXIT_JOB_USAGE;
    }
    make_quantiles(&g);
    return generate(&g);
}
