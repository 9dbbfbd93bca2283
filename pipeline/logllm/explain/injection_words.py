# ruff: noqa: E501 - patterns are as long as what they look for
"""What log text says when it speaks to a language model: the words, by what they want, in many languages.

All of it is matched against text that `injection` has made plain: NFKC, case folded, accents and invisible characters
gone. Written from the shapes that collections of prompt injections and chat templates have, in words of our own.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["HIDDEN_ORDER", "OTHER_SCRIPTS", "WISHES", "Wish"]


class Wish(NamedTuple):
    """What a text wants. `needs`: one of these must be in the text for `pattern` to be worth a try; a matter of speed."""

    name: str
    needs: tuple[str, ...]
    pattern: re.Pattern[str]


def _wish(name: str, needs: str, *patterns: str) -> Wish:
    return Wish(name, tuple(needs.split(";")), re.compile("|".join(patterns)))


_GAP = r"[\W_]+(?:\w+\W+){0,5}?"
_VERB = r"(?:ignor(?:e|ing|ed)|disregard|forget|overrid(?:e|ing)|bypass|neglect|set aside|pay no attention to)"
_ORDER = r"(?:instructions?|prompts?|guidelines?|directives?|directions|training|safety|persona|safeguards|guardrails|restrictions)"
HIDDEN_ORDER = re.compile(
    rf"\b{_VERB}{_GAP}{_ORDER}\b|\byou are now{_GAP}(?:assistant|model|admin|unrestricted)\b|\bsystem prompt\b"
)
"""For text that had to be decoded by guessing (letters for digits, rotated, reversed): the plainest wishes alone."""

_VALUE = r"(?:info\w*|low|lowest|none|critical|highest|high|warning|harmless|benign|normal|debug|zero|one|[01](?:\.\d+)?|minimal)"
_OURS = r"(?:severity|confidence|root.?cause|hypothesis|runbook)"
_ENGLISH = (
    _wish(
        "override",
        "ignor;disregard;forget;overrid;bypass;neglect;set aside;no attention;instruction;your ;everything ;rules;real task;"
        "actual task;true task;updated task;stop following;override;{{;you no longer",
        rf"\b{_VERB}{_GAP}{_ORDER}\b",
        rf"\b{_VERB}{_GAP}(?:all|any|every|everything|the|your|these|those|previous|prior|above|earlier)\W+"
        r"(?:\w+\W+){0,4}?(?:rules|orders|commands|constraints|context|above|before this|you were told|analysis)\b",
        r"\boverride analysis\b|\bnew instructions?\W|\b(?:real|actual|true|updated) (?:instructions?|task)\s*(?:are|is|:)",
        r"\byour (?:new|real|only|actual|true|sole) (?:task|role|goal|job|purpose|instructions?|objective)\b",
        r"\b(?:instructions?|rules|everything) (?:above|before this|so far)\b.{0,30}\b(?:void|cancel|obsolete|no longer|a test)",
        r"\b(?:developer|researcher|admin|operator|system|updated|secret) instructions?\s*:|\bsystem override\b|\{\{\s*system\s*:",
        r"\byou no longer (?:need|have|must|require)\b|\boverride\s*:\s*(?:display|print|show|output|ignore|reveal)\b",
        r"\bstop following\b.{0,20}(?:instructions|rules|guidelines)\b",
    ),
    _wish(
        "role",
        "you are now;you're now;your now;you must now;from now on;pretend;play;act as; mode ;anything now;jailbreak;you have no;"
        "in character;imagine you;grandmother",
        r"\byou(?: are|'re|r) now\W+(?:\w+\W+){0,4}?(?:assistant|ai|model|bot|agent|shell|terminal|character|admin\w*|root|"
        r"dan|hacker|expert|unrestricted|uncensored|evil|helpful|mode|persona|interpreter|pirate|free|jailbroken|analyst)\b",
        r"\byou must now\b|\bfrom now on,? you\b|\bpretend (?:to be|you|that you)\b|\brole-?play (?:as|a)\b",
        r"\bact as (?:an? |the |my |if you )?(?:\w+ ){0,3}(?:assistant|ai|model|admin\w*|root|hacker|expert|dan|terminal|"
        r"shell|bot|chatbot|are|were|had)\b",
        r"\b(?:developer|dan|god|jailbreak|unrestricted|debug) mode (?:enabled|activated|unlocked|on)\b",
        r"\bdo anything now\b|\bjailbreak\b|\byou have no (?:restrictions|rules|limits)\b|\bstay in character\b",
        r"\bimagine you are\b|\bmy (?:late )?grandmother used to\b",
    ),
    _wish(
        "to a model",
        "language model; ai;ai ;llm;gpt;claude;gemini;copilot;assistant;system prompt;system-prompt;systemprompt;prompt injection",
        r"\b(?:an?|the|any|dear|as|hey|note to|attention|large|to) (?:\w+ )?language models?\b|\blanguage model reading\b",
        r"\bas an ai\b|\b(?:dear|hey|attention|hello|note to|message (?:to|for)|to) (?:the |any |all )?"
        r"(?:ai|llms?|chatgpt|gpt|claude|gemini|copilot|assistant)\b",
        r"\bif you(?: are|'re) (?:an? )?(?:ai|llm|assistant|language model|automated)\b",
        r"\b(?:ai|llm) (?:assistants?|agents?|models?|systems?) (?:reading|processing|that read|who|must|should|analy[sz]ing)",
        r"\bsystem[ -]?prompt\b(?! +(?:loaded|file|length))|\bprompt injection\b",
    ),
    _wish(
        "answer",
        "severity;confidence;cause;hypothesis;runbook;harmless;benign;false positive;a drill;a test;expected;safe;do not ;don't ;"
        "never ;respond;reply;answer;output;operator;user;admin;human;engineer;call;reader;sre",
        r"\b(?:respond|reply|answer|output|classify|report|set|mark|rate|treat|label|return|write|choose|select|give|change|"
        rf"lower|raise|downgrade|assign|state)\W+(?:\w+\W+){{0,6}}?{_OURS}\W{{0,4}}(?:\w+\W+){{0,2}}?{_VALUE}\b",
        r"\b(?:respond|reply|answer|choose|select|pick|use) (?:\w+\W+){0,5}?(?:hypothesis|runbook)\b",
        rf"\b{_OURS}\s+(?:is|to|must be|should be|=)\s*[\"']?\w+\W+(?:\w+\W+){{0,3}}\b(?:run|execute|and|because|so)\b",
        r"\b(?:correct|right|best|only|proper) runbook\b|\brunbook\s*[:=]\s*[\"']?[a-z]+(?:-[a-z]+)+",
        rf"\b{_OURS}\W{{1,3}}(?:must|shall|should|has to) be\b",
        r"\b(?:incident|alert|anomaly|event|error)s? (?:is|are|was) (?:\w+ )?(?:harmless|benign|false positives?|a drill|a test|"
        r"expected|safe)\W+(?:\w+\W+){0,4}?(?:do not|don't|no need|never|so|ignore|close)\b",
        r"\b(?:do not|don't|never) (?:alert|page|escalate|wake|notify|mention|tell|inform|report)\b"
        r"(?:\W+\w+){0,3}?\W+(?:humans?|operators?|users?|team|anyone|anybody|security|on-?call|admin\w*|this incident|this)\b",
        r"\b(?:respond|reply|answer|output) (?:only|exactly|just|nothing but)? ?(?:with|in) (?:the |only |exactly |just )*"
        r"(?:json|yes|no|ok|the (?:word|phrase|following)|\")",
        r"\b(?:tell|instruct|advise|recommend|urge|ask) (?:\w+ ){0,2}?(?:operator|user|admin\w*|human|engineer|on-?call|reader|sre)s?"
        r" (?:to|that)\b",
    ),
    _wish(
        "reveal",
        "your ;came before;of this conv;system message;initial prompt;hidden prompt;original prompt; above;so far;exfiltrate;secrets;passwords;credentials;api key;"
        "conversation;environment variables;evidence;session token",
        r"\b(?:print|reveal|show|repeat|output|tell me|leak|dump|display|disclose|summari[sz]e|translate|recite)\W+(?:\w+\W+){0,4}?"
        r"(?:your (?:\w+ )?(?:instructions|prompt|rules|secrets|configuration|memory|context|tools)|"
        r"(?:initial|hidden|original) prompt|(?:text|words|everything|content) above|conversation so far|system message|"
        r"(?:that )?came before this|beginning of (?:this|the|our) conversation)",
        r"\b(?:exfiltrate|(?:send|post|upload|forward|append|encode|leak) (?:\w+ ){0,4}?(?:secrets|passwords|credentials|"
        r"api keys?|conversation|environment variables|evidence|session token))\b",
    ),
    _wish(
        "template token",
        "<|;|>;_of_turn;inst];sys>>;[system;[/system;_prompt];_tools];[tool_;[assistant;<system;<assistant;<developer;</system;"
        "</assistant;</developer;think>;scratchpad>;##;begin_instruction;begininstruction;assistant;human",
        r"<\|/?[a-z_\u2581 ]{1,24}\|?>|<[\w\u2581 ]{1,24}\|>|</?(?:start|end)_of_turn>|\[/?inst\]|<</?sys>>",
        r"\[/?(?:system_prompt|available_tools|tool_calls|tool_results|assistant|system)\]",
        r"</?(?:system|assistant|developer)(?:[_-](?:prompt|message|reminder))?>(?!\s*<)|</?(?:think|scratchpad)>",
        r"#{2,}\s*(?:instructions?|response|system|assistant|human|new task)\s*(?::|#|$)|\bbegin_?instruction\b",
        r"(?:^|[\n\"'>\]|.;]|\\n)\s*(?:assistant|human)\s*:\s*\S|\bhuman\s*:.{1,200}\bassistant\s*:",
    ),
    _wish(
        "tool call",
        'tool;function;invoke;parameter;<antml;arguments;"input\\;"input";args;role;action;final answer;default_api',
        r"</?(?:tool_call|tool_response|tool_use|tool_result|function_calls?|function_results|invoke|antml:\w+|parameter)\b[^>]{0,80}>",
        r"<function=|\\?\"(?:function_call|tool_calls?|tool_use)\\?\"\s*:|\\?\"name\\?\"\s*:\s*\\?\"[\w.]{1,60}\\?\"\s*,\s*\\?\""
        r"(?:arguments|parameters|input|args)\\?\"\s*:|\\?\"role\\?\"\s*:\s*\\?\"(?:system|assistant|developer|tool)\\?\"",
        r"\baction\s*:\s*\w+.{0,60}\baction input\s*:|\bfinal answer\s*:|\bthought\s*:.{1,200}\baction\s*:",
        r"\b(?:call|invoke|use) the (?:\w+ )?(?:tool|function)\b|\btool_code\b|\bprint\(default_api\.",
    ),
    _wish(
        "link",
        "](;|;<!;<img;\x1b]8",
        r"!\[[^\]\n]{0,120}\]\(\s*(?:https?:|data:)?//|\[[^\]\n]{1,120}\]\(\s*(?:https?|javascript|data|file):",
        r"<(?:https?|mailto|slack|javascript):[^|>\s]{1,400}\|[^>\n]{1,200}>|<!(?:channel|here|everyone|subteam)\b",
        r"<img\s[^>]{0,200}src\s*=\s*[\"']?https?:[^>]{0,200}[?&]\w+=|\x1b\]8;",
    ),
    _wish(
        "fence",
        '---;===;###;***;<<<;[[[;end of ;</;```;"""',
        r"(?<!-)-{3,40}\s{0,3}(?:end|begin|start|log)\s+(?:of\s+)?(?:the\s+)?(?:log|logs|data|evidence|context|input|facts|prompt|user|"
        r"instructions?|[0-9a-f]{4,16})\b|(?<![=#*<\[])[=#*<\[]{3,40}\s{0,3}(?:end|begin|start)\s+(?:of\s+)?(?:the\s+)?(?:\w+ )?(?:logs?|data|evidence|"
        r"context|input|facts|prompt|instructions?)\b|\bend of (?:the )?(?:logs?|evidence|data|input|context)\b\W+(?:\w+\W+){0,6}?"
        r"(?:now|new|you|instructions?|system|task)\b|</(?:logs?|evidence|untrusted\w*|user_input|context|prompt|facts)>",
        r"```\s*(?:system|assistant|json|end)\b|\"\"\"\s*(?:system|end)\b",
    ),
    _wish(
        "evidence",
        "e1;e2;e3;e4;e5;e6;e7;e8;e9;fact:;runbook;answer",
        r"(?:^|[\n\"';>|\]}.]|\\n)\s*e\d{1,2}\s*:\s+\S.{0,400}?(?:\be\d{1,2}\s*:\s|\bfact\s*:|\brunbooks?\s*:|\banswer\s*:)",
        r"(?:[\n\u23ce]|\\n)\s*(?:e\d{1,2}|fact|runbooks?|answer)\s*:|\bcite (?:only )?(?:\w+ )?e\d{1,2}\b",
        r"\bevidence\W{1,4}e\d{1,2}\b|\banswer\s*:\s*\{",
    ),
    _wish(
        "json",
        "hypothesis;runbook;}",
        r"\\?\"(?:hypothesis|runbook)\\?\"\s*:.{0,300}?\\?\"(?:severity|evidence|hypothesis|runbook)\\?\"\s*:",
        r"\\?\"(?:severity|evidence)\\?\"\s*:.{0,300}?\\?\"(?:hypothesis|runbook)\\?\"\s*:",
        r"[\"']\s*[}\]]+\s*,?\s*\{?\s*\\?\"(?:hypothesis|runbook|severity)\\?\"\s*:",
    ),
)
# Verbs of leaving aside and nouns of orders, for languages that put the verb first.
_VERB_FIRST = (
    ("ignorier|vergiss|vergesst|missacht|uberspring|verwirf", "anweisung|instruktion|vorgabe|befehl|prompt|richtlini"),
    ("negeer|vergeet", "instructie|opdracht|aanwijzing|richtlijn"),
    ("ignorer|glom|bortse", "instruktion|anvisning|instruks|regler"),
    ("ignore|oublie|pas compte|aucun compte|neglige", "instruction|consigne|directive|regles"),
    ("ignor|olvid|descart|omit|haz caso omiso", "instruccion|indicacion|ordenes|reglas|directri"),
    ("ignor|esquec|desconsider", "instrucoes|instrucao|ordens|regras|diretri|comandos"),
    ("ignor|dimentic|trascur|tralasci", "istruzion|indicazion|regole|direttiv|ordini"),
    ("ignor|uita", "instructiuni|regulile|indicati"),
    ("ignoruj|zapomnij|pomin", "instrukcj|polece|wytyczn|zasad"),
    ("ignoruj|zapomen", "instrukc|pokyn|prikaz"),
    ("игнорир|забудь|забыть|пренебре|не обращаи|отбрось|отмени", "инструкц|указани|правил|команд|промпт"),
    ("ігнору|ігноруи|забудь|знехтуи|ігнору", "інструкц|вказівк|правил|наказ"),
    ("abaikan|lupakan|hiraukan", "instruksi|perintah|arahan|petunjuk|aturan"),
    ("bo qua|phot lo|quen|lo di", "huong dan|chi thi|menh lenh|chi dan|lenh"),
    ("puuza|sahau", "maagizo|maelekezo"),
    ("αγνοησε|ξεχασε|αγνοηστε", "οδηγι|εντολ|κανον"),
)
# Both near each other, whichever comes first: languages that put the verb last, scripts without blanks between words.
_NEAR = (
    ("talimat|yonerge|komutlari", "yok say|gormezden|unut|dikkate alma|goz ardi"),
    ("指令|指示|提示|规则|規則|命令|设定|設定|要求", "忽略|无视|忽視|無視|忘记|忘記|不要理会|不理会|抛开|忘掉"),
    ("指示|命令|プロンプト|ルール|指令|設定", "無視|忘れ|破棄|従わな"),
    ("지시|명령|지침|프롬프트|규칙", "무시|잊어|잊고|따르지"),
    ("التعليمات|تعليمات|الاوامر|الأوامر|القواعد|التوجيهات", "تجاهل|انس |انسى|اهمل|أهمل|لا تتبع"),
    ("دستور", "نادیده|فراموش"),
    ("הוראות|הנחיות", "התעלם|שכח"),
    ("निर्देश|आदेश|नियम|हिदायत", "अनदेखा|नजरअंदाज|नज़रअंदाज|नज़रअंदाज़|भूल|उपेक्षा"),
    ("নির্দেশ|নিয়ম", "উপেক্ষা|ভুলে"),
    ("คำสั่ง|คำแนะนำ|คําสั่ง|คําแนะนํา", "เพิกเฉย|ละเว้น|ไม่ต้องสนใจ|ลืม"),
)
_ROLES = (
    r"\bdu bist (?:jetzt|nun|ab jetzt|ab sofort)\b", r"\bje bent (?:nu|vanaf nu)\b", r"\bdu ar nu\b",
    r"\b(?:tu es|vous etes) (?:maintenant|desormais)\b", r"\bahora eres\b", r"\ba partir de ahora (?:eres|debes|respond)",
    r"\bagora (?:voce e|voce deve)\b", r"\bvoce agora e\b", r"\b(?:ora|adesso) sei un", r"\bd'ora in poi (?:sei|devi|rispond)",
    r"\bjestes teraz\b", r"\bod teraz jestes\b", r"\bnyni jsi\b", r"\b(?:kamu|anda) sekarang adalah\b", r"\bartik sen\b",
    r"\bbay gio ban la\b",
)  # fmt: skip
_ROLES_AFAR = (
    r"(?:ты|вы) теперь\b", r"теперь ты\b", r"отныне (?:ты|вы)\b", r"тепер ти\b", r"你现在是|你現在是|从现在开始你|从现在起你|假装你是",
    r"あなたは(?:今|これ|今後).{0,12}(?:です|た|だ|として)", r"너는 (?:이제|지금부터)|당신은 (?:이제|지금부터)", r"[اأ]نت ال[اآ]ن\b",
    r"अब (?:आप|तुम|तू) एक\b", r"языков\w+ модел|мовн\w+ модел|систем\w+ промпт", r"语言模型|語言模型|大模型|言語モデル|언어 ?모델",
    r"نموذج (?:لغوي|اللغة)", r"भाषा मॉडल", r"系统提示|系統提示|システムプロンプト|시스템 프롬프트",
    r"(?:ответь|отвечаи) (?:только|лишь)\b", r"只(?:回答|回复|输出)", r"(?:とだけ|のみ)(?:答え|回答|出力)", r"만 (?:답해|대답|출력)",
    r"(?:критичност|серьезност|严重性|严重程度|嚴重性|重大度|심각도|الخطورة|गंभीरता)\W{0,4}(?:\w+\W+){0,3}?"
    r"(?:на|info|critical|设为|设置|を|을|를|إلى|को)",
)  # fmt: skip
_ANSWERS = (
    r"\bsprachmodell|\btaalmodel|\bsprakmodell|\bmodele de langage|\bmodelo de (?:lenguaje|linguagem)|\bmodello linguistico",
    r"\bmodelul lingvistic|\bmodel (?:jezykowy|bahasa)|\bjazykov\w+ model|\bdil modeli|\bmo hinh ngon ngu",
    r"\binvite systeme|\bprompt (?:do|del|de|di) sistema",
    r"\bantworte (?:nur|ausschliesslich|immer)\b|\bantwoord (?:alleen|uitsluitend)\b|\brepond[sz]? (?:uniquement|seulement)\b",
    r"\brespond[ea] (?:solo|unicamente|solamente|apenas|somente)\b|\brispondi (?:solo|soltanto|unicamente)\b",
    r"\bodpowiedz (?:tylko|wylacznie)\b|\bsadece .{0,20}(?:cevap|yanit) ver",
    r"\b(?:schweregrad|dringlichkeit|gravite|gravidade|gravedad|severidad|gravita|waznosc|ciddiyet)\W{0,4}(?:\w+\W+){0,3}?"
    r"(?:auf|sur|en|como|come|na|info|critical|critica|kritisch|olarak)\b",
)  # fmt: skip
_ANSWER_WORDS = (
    "sprachmodell;taalmodel;sprakmodell;de langage;lenguaje;linguagem;linguistico;lingvistic;jezykowy;bahasa;jazykov;dil modeli;"
    "ngon ngu;invite systeme;sistema;antwo;repond;respond;rispond;odpowiedz;sadece;schweregrad;dringlichkeit;gravit;gravidade;"
    "gravedad;severidad;waznosc;ciddiyet"
)
_ROLE_WORDS = (
    "du bist;je bent;du ar nu;tu es ;vous etes;ahora eres;de ahora;agora ;ora sei;adesso sei;d'ora in;jestes;nyni;sekarang;"
    "artik sen;bay gio"
)


def _of_scripts() -> Wish:
    near = [f"(?:{one}).{{0,30}}?(?:{other})|(?:{other}).{{0,30}}?(?:{one})" for one, other in _NEAR[1:]]
    verbs = [rf"\b(?:{verb})\w*{_GAP}\w*(?:{noun})" for verb, noun in _VERB_FIRST if not verb.isascii()]
    return Wish("in another language", (), re.compile("|".join([*near, *verbs, *_ROLES_AFAR])))


OTHER_SCRIPTS = _of_scripts()
"""For texts with letters beyond ASCII once accents are gone."""

WISHES: tuple[Wish, ...] = (
    *_ENGLISH,
    *(
        _wish("override in another language", verb.replace("|", ";"), rf"\b(?:{verb})\w*{_GAP}\w*(?:{noun})")
        for verb, noun in _VERB_FIRST
        if verb.isascii()
    ),
    _wish(
        "override in another language",
        "talimat;yonerge;komutlari",
        f"(?:{_NEAR[0][0]}).{{0,40}}?(?:{_NEAR[0][1]})|(?:{_NEAR[0][1]}).{{0,40}}?(?:{_NEAR[0][0]})",
    ),
    _wish("role in another language", _ROLE_WORDS, *_ROLES),
    _wish("answer in another language", _ANSWER_WORDS, *_ANSWERS),
)
"""The first that fits names what a text wants."""
