// Everything the page says, in English and Chinese; the browser's language decides, or ?lang=en|zh in the address.

const TEXTS = {
  en: {
    title: "What is in this picture?",
    picture: "Picture",
    drop: "Drop a picture here, or paste one",
    tap: "Tap to choose a picture",
    choose: "Choose pictures",
    photograph: "Use the camera",
    shoot: "Take the picture",
    close: "Close camera",
    answer: "Answer",
    tries: "Tries",
    clear: "Clear",
    again: "Try again",
    about: "{model}, {count}",
    classes: "{n} classes",
    oneClass: "1 class",
    knows: "It knows these classes:",
    more: "and {n} more",
    loading: "Loading the model…",
    looking: "Looking…",
    waiting: "Waiting…",
    busyAgain: "The server is busy. Trying again in {n} s…",
    latency: "Answered in {ms} ms",
    unknown: "Unknown",
    unknownWhy: "This looks like nothing the model was taught. What comes closest:",
    failed: "No answer",
    unseen: "{name}: this browser cannot show it",
    photo: "Photo",
    pasted: "Pasted picture",
    serverPrivacy: "Pictures are sent to this server to be looked at. The list of tries is in this page only and is gone when you close it.",
    browserPrivacy: "Everything happens in this browser. No picture leaves your device, and it works without a network.",
    update: "There is a new version of this page.",
    reload: "Load it",
    aim: "Point the camera at something and take the picture.",
    key: "This server asks for a key",
    wrongKey: "The server does not accept that key",
    keyWhat: "Type in the key that you were given. It is kept until you close this page.",
    keyName: "Key",
    keySend: "Use this key",
    notImage: "Not a picture that can be read",
    notImageDo: "Choose a JPEG, PNG, WebP, GIF or BMP. The file may be damaged.",
    tooLarge: "The picture is too large",
    tooLargeDo: "Choose a smaller one, or make it smaller first.",
    busy: "The server is busy",
    busyDo: "It has more pictures than it can look at just now. Try again in a moment.",
    away: "The server does not answer",
    awayDo: "Is it still running, and are you connected to it?",
    slow: "It took too long",
    slowDo: "The answer did not come in time. Try again, or choose a smaller picture.",
    noPicture: "There is no picture in that",
    noPictureDo: "Copy or drop the picture itself, not a link, a text or a folder.",
    noCamera: "The camera cannot be used",
    noCameraDo: "Allow this page to use it in the browser's settings, or choose a picture.",
    noModel: "The model cannot be loaded",
    noModelDo: "Reload the page. The browser must be of 2023 or later.",
    other: "Something went wrong",
    otherDo: "Try again.",
    limit: "Only the first {n} pictures were taken. Choose the others after these.",
  },
  zh: {
    title: "这张图片里是什么？",
    picture: "图片",
    drop: "把图片拖到这里，或直接粘贴",
    tap: "点按选择图片",
    choose: "选择图片",
    photograph: "使用摄像头",
    shoot: "拍照",
    close: "关闭摄像头",
    answer: "结果",
    tries: "识别记录",
    clear: "清空",
    again: "重试",
    about: "{model}，{count}",
    classes: "{n} 个类别",
    oneClass: "1 个类别",
    knows: "可识别的类别：",
    more: "以及另外 {n} 个",
    loading: "正在加载模型…",
    looking: "正在识别…",
    waiting: "等待中…",
    busyAgain: "服务器繁忙，{n} 秒后重试…",
    latency: "用时 {ms} 毫秒",
    unknown: "未知",
    unknownWhy: "这不像模型学过的任何类别。最接近的是：",
    failed: "没有结果",
    unseen: "{name}：此浏览器无法显示",
    photo: "照片",
    pasted: "粘贴的图片",
    serverPrivacy: "图片会发送到此服务器进行识别。识别记录只保存在本页面中，关闭后即消失。",
    browserPrivacy: "一切都在此浏览器中进行。图片不会离开您的设备，没有网络也能使用。",
    update: "此页面有新版本。",
    reload: "加载新版本",
    aim: "将摄像头对准物体，然后拍照。",
    key: "此服务器需要密钥",
    wrongKey: "服务器不接受该密钥",
    keyWhat: "请输入您得到的密钥。它会保留到您关闭此页面为止。",
    keyName: "密钥",
    keySend: "使用此密钥",
    notImage: "无法读取此图片",
    notImageDo: "请选择 JPEG、PNG、WebP、GIF 或 BMP 图片。文件可能已损坏。",
    tooLarge: "图片太大",
    tooLargeDo: "请选择较小的图片，或先将其缩小。",
    busy: "服务器繁忙",
    busyDo: "目前待识别的图片太多，请稍后重试。",
    away: "服务器没有响应",
    awayDo: "它是否仍在运行？您是否能连接到它？",
    slow: "用时过长",
    slowDo: "未能及时得到结果。请重试，或选择较小的图片。",
    noPicture: "其中没有图片",
    noPictureDo: "请复制或拖放图片本身，而不是链接、文字或文件夹。",
    noCamera: "无法使用摄像头",
    noCameraDo: "请在浏览器设置中允许此页面使用摄像头，或选择一张图片。",
    noModel: "无法加载模型",
    noModelDo: "请重新加载页面。浏览器须为 2023 年或更新的版本。",
    other: "出错了",
    otherDo: "请重试。",
    limit: "只接受了前 {n} 张图片，其余的请稍后再选。",
  },
};

export const lang = chooseLanguage();

/** The text of this name, its {places} filled in. */
export function text(name, values = {}) {
  return TEXTS[lang][name].replace(/\{(\w+)\}/g, (_, place) => values[place]);
}

/** Gives every element with data-text its text. */
export function translate() {
  document.documentElement.lang = lang === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
}

/** 97.3%; never 100% for less. */
export function percent(fraction) {
  const shown = fraction < 1 ? Math.min(fraction, 0.999) : 1;
  return new Intl.NumberFormat(lang, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(shown);
}

/** 12,345, as the language writes it. */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(lang, { maximumFractionDigits: digits }).format(value);
}

function chooseLanguage() {
  const asked = new URLSearchParams(location.search).get("lang");
  const wanted = [asked, ...navigator.languages].filter(Boolean).map((tag) => tag.slice(0, 2).toLowerCase());
  return wanted.find((tag) => tag in TEXTS) ?? "en";
}
