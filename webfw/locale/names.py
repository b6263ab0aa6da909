"""Names of languages, in English and in themselves. A table, no code that uses it."""

_TABLE = """
af_ZA Afrikaans|Afrikaans
am_ET Amharic|አማርኛ
ar_AR Arabic|العربية
az_AZ Azerbaijani|Azərbaycan
be_BY Belarusian|Беларуская
bg_BG Bulgarian|Български
bn_IN Bengali|বাংলা
bs_BA Bosnian|Bosanski
ca_ES Catalan|Català
cs_CZ Czech|Čeština
cy_GB Welsh|Cymraeg
da_DK Danish|Dansk
de_AT German (Austria)|Deutsch (Österreich)
de_CH German (Switzerland)|Deutsch (Schweiz)
de_DE German|Deutsch
el_GR Greek|Ελληνικά
en_AU English (Australia)|English (Australia)
en_CA English (Canada)|English (Canada)
en_GB English (UK)|English (UK)
en_US English (US)|English (US)
eo_EO Esperanto|Esperanto
es_ES Spanish (Spain)|Español (España)
es_LA Spanish|Español
es_MX Spanish (Mexico)|Español (México)
et_EE Estonian|Eesti
eu_ES Basque|Euskara
fa_IR Persian|فارسی
fi_FI Finnish|Suomi
fr_CA French (Canada)|Français (Canada)
fr_FR French|Français
ga_IE Irish|Gaeilge
gl_ES Galician|Galego
gu_IN Gujarati|ગુજરાતી
he_IL Hebrew|עברית
hi_IN Hindi|हिन्दी
hr_HR Croatian|Hrvatski
hu_HU Hungarian|Magyar
hy_AM Armenian|Հայերեն
id_ID Indonesian|Bahasa Indonesia
is_IS Icelandic|Íslenska
it_IT Italian|Italiano
ja_JP Japanese|日本語
ka_GE Georgian|ქართული
kk_KZ Kazakh|Қазақ тілі
km_KH Khmer|ខ្មែរ
kn_IN Kannada|ಕನ್ನಡ
ko_KR Korean|한국어
lo_LA Lao|ລາວ
lt_LT Lithuanian|Lietuvių
lv_LV Latvian|Latviešu
mk_MK Macedonian|Македонски
ml_IN Malayalam|മലയാളം
mn_MN Mongolian|Монгол
mr_IN Marathi|मराठी
ms_MY Malay|Bahasa Melayu
my_MM Burmese|မြန်မာ
nb_NO Norwegian (bokmal)|Norsk (bokmål)
ne_NP Nepali|नेपाली
nl_BE Dutch (Belgium)|Nederlands (België)
nl_NL Dutch|Nederlands
nn_NO Norwegian (nynorsk)|Norsk (nynorsk)
pa_IN Punjabi|ਪੰਜਾਬੀ
pl_PL Polish|Polski
ps_AF Pashto|پښتو
pt_BR Portuguese (Brazil)|Português (Brasil)
pt_PT Portuguese (Portugal)|Português (Portugal)
ro_RO Romanian|Română
ru_RU Russian|Русский
si_LK Sinhala|සිංහල
sk_SK Slovak|Slovenčina
sl_SI Slovenian|Slovenščina
sq_AL Albanian|Shqip
sr_RS Serbian|Српски
sv_SE Swedish|Svenska
sw_KE Swahili|Kiswahili
ta_IN Tamil|தமிழ்
te_IN Telugu|తెలుగు
th_TH Thai|ไทย
tl_PH Filipino|Filipino
tr_TR Turkish|Türkçe
uk_UA Ukrainian|Українська
ur_PK Urdu|اردو
uz_UZ Uzbek|O\u02bbzbek
vi_VN Vietnamese|Tiếng Việt
yi_001 Yiddish|ייִדיש
zh_CN Chinese (Simplified)|中文(简体)
zh_HK Chinese (Hong Kong)|中文(香港)
zh_TW Chinese (Traditional)|中文(繁體)
zu_ZA Zulu|isiZulu
"""


def _read_table() -> dict[str, dict[str, str]]:
    names = {}
    for line in _TABLE.strip().splitlines():
        code, _, both = line.partition(" ")
        english, _, native = both.partition("|")
        names[code] = {"name_en": english, "name": native}
    return names


#: For each locale code its English name (``name_en``) and its own (``name``).
LOCALE_NAMES: dict[str, dict[str, str]] = _read_table()


def native_name(code: str) -> str:
    """Return the name of a locale in its own language (without region for a bare language) or ``Unknown``."""
    entry = LOCALE_NAMES.get(code)
    if entry is not None:
        return entry["name"]
    if "_" not in code:
        for known, entry in LOCALE_NAMES.items():
            if known.startswith(code + "_"):
                return entry["name"].partition("(")[0].rstrip()
    return "Unknown"
